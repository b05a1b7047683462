package glue

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// commentWidth is the length of the longest line of a comment.
const commentWidth = 80

// deprecated is the paragraph that marks what is deprecated, as in the code of
// protoc-gen-go-grpc.
const deprecated = "Deprecated: Do not use."

// comment makes a comment of paragraphs, broken into lines.
func comment(paragraphs ...string) protogen.Comments {
	var b strings.Builder
	for i, p := range paragraphs {
		if i > 0 {
			b.WriteString("\n")
		}
		line := ""
		for word := range strings.FieldsSeq(p) {
			if line != "" && len("// ")+len(line)+len(" ")+len(word) > commentWidth {
				b.WriteString(" " + line + "\n")
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		b.WriteString(" " + line + "\n")
	}
	return protogen.Comments(b.String())
}

// paragraphs joins comments, with an empty line between those that are not empty.
func paragraphs(parts ...protogen.Comments) protogen.Comments {
	var joined protogen.Comments
	for _, p := range parts {
		if p == "" {
			continue
		}
		if joined != "" {
			joined += "\n"
		}
		joined += p
	}
	return joined
}

// deprecation returns the paragraph that says so, or nothing.
func deprecation(is bool) protogen.Comments {
	if !is {
		return ""
	}
	return comment(deprecated)
}

// article puts "a" or "an" before a name, by its sound: an Uploader, a User.
func article(name string) string {
	asYou := strings.HasPrefix(name, "Us") || strings.HasPrefix(name, "Uni") || strings.HasPrefix(name, "Eu")
	if strings.ContainsRune("AEIOU", rune(name[0])) && !asYou {
		return "an " + name
	}
	return "a " + name
}

// list joins names as in a sentence.
func list(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
