package glue

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
)

// commentWidth is the length of the longest line of a comment.
const commentWidth = 80

// deprecated is the paragraph that marks a deprecated declaration. protoc-gen-go-grpc
// writes the same.
const deprecated = "Deprecated: Do not use."

// comment returns a comment with these paragraphs, broken into lines.
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

// paragraphs joins the comments that are not empty, with an empty line between them.
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

// deprecation returns the paragraph that marks a deprecated declaration, or an empty
// comment.
func deprecation(is bool) protogen.Comments {
	if !is {
		return ""
	}
	return comment(deprecated)
}

var (
	// directive matches a line of a comment that would be a directive of Go directly after
	// //, such as //go:build, //line and //export.
	directive = regexp.MustCompile(`(?m)^(?:[a-z0-9]+:[a-z0-9]|(?:line|export|extern) )`)

	// plusBuild matches the beginning of a build constraint, which Go also accepts after a
	// space.
	plusBuild = regexp.MustCompile(`(?m)^([ \t]*\+)(build)\b`)
)

// tame changes a comment so that no line of it is a directive of Go.
func tame(c protogen.Comments) protogen.Comments {
	tamed := directive.ReplaceAllString(string(c), " $0")
	return protogen.Comments(plusBuild.ReplaceAllString(tamed, "$1 $2"))
}

// TameComments changes all comments of a file so that no line of them is a directive of
// Go. Generators copy comments into Go code.
func TameComments(file *descriptorpb.FileDescriptorProto) {
	tamed := func(c *string) *string {
		if c == nil {
			return nil
		}
		return new(string(tame(protogen.Comments(*c))))
	}
	for _, at := range file.GetSourceCodeInfo().GetLocation() {
		at.LeadingComments = tamed(at.LeadingComments)
		at.TrailingComments = tamed(at.TrailingComments)
		for i, c := range at.GetLeadingDetachedComments() {
			at.LeadingDetachedComments[i] = *tamed(&c)
		}
	}
}

// article returns a name after "a" or "an", by its sound: an Uploader, a User.
func article(name string) string {
	asYou := strings.HasPrefix(name, "Us") || strings.HasPrefix(name, "Uni") || strings.HasPrefix(name, "Eu")
	if strings.ContainsRune("AEIOU", rune(name[0])) && !asYou {
		return "an " + name
	}
	return "a " + name
}

// list joins names with commas and "and".
func list(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
