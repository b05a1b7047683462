package prose

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

type lang int

const (
	unknown lang = iota
	golang
	proto
	markdown
	shell
)

// language tells by its name what a file holds.
func language(name string) lang {
	switch path.Ext(name) {
	case ".go":
		return golang
	case ".proto":
		return proto
	case ".md":
		return markdown
	case ".sh", ".py":
		return shell
	}
	if path.Dir(name) == ".ci" {
		return shell
	}
	return unknown
}

// extract returns the passages of a file. A generated Go file has none: its
// texts come from a .proto file or from the generator.
func extract(name string, content []byte) ([]passage, error) {
	switch language(name) {
	case golang:
		return extractGo(name, content)
	case proto:
		return extractComments(content, "//"), nil
	case markdown:
		return extractMarkdown(content), nil
	case shell:
		return extractComments(content, "#"), nil
	default:
		return nil, nil
	}
}

func extractGo(name string, content []byte) ([]passage, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || ast.IsGenerated(file) {
		return nil, err
	}
	line := func(pos token.Pos) int { return files.Position(pos).Line }

	comments := builder{kind: prose}
	for _, group := range file.Comments {
		for _, c := range group.List {
			for i, text := range strings.Split(c.Text, "\n") {
				comments.comment(text, line(c.Pos())+i)
			}
		}
		comments.end()
	}
	found := comments.done

	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				found = append(found, literal(n.Value, line(n.Pos()))...)
			}
		case *ast.TypeSpec:
			found = append(found, named(typeName, n.Name.Name, line(n.Pos())))
		case *ast.FuncDecl:
			if strings.HasSuffix(name, "_test.go") && testFunc.MatchString(n.Name.Name) {
				found = append(found, named(testName, strings.Join(words(n.Name.Name), " "), line(n.Pos())))
			}
		}
		return true
	})
	return found, nil
}

var testFunc = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]`)

// comment takes in a line of a comment. Indented lines are code or a table,
// and end a passage like empty lines. An item of a list begins one.
func (b *builder) comment(text string, line int) {
	text = strings.TrimSpace(text)
	for _, mark := range []string{"//", "/*", "#"} {
		text = strings.TrimPrefix(text, mark)
	}
	text = strings.TrimSuffix(text, "*/")
	item := listItem.FindString(text)
	switch {
	case item != "":
		b.end()
		b.add(text[len(item):], line)
	case strings.TrimSpace(text) == "", strings.HasPrefix(text, "\t"), strings.HasPrefix(text, "   ") && b.text.Len() == 0:
		b.end()
	case directive.MatchString(text):
	default:
		b.add(text, line)
	}
}

var (
	listItem  = regexp.MustCompile(`^\s*([-*]|\d+\.)\s+`)
	directive = regexp.MustCompile(`^(go:|nolint|lint:|!)`)
)

// literal returns the lines of a string, each as a passage of its own.
func literal(quoted string, line int) []passage {
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return nil
	}
	raw := quoted[0] == '`'
	b := builder{kind: message}
	for i, part := range strings.Split(text, "\n") {
		if !raw {
			i = 0
		}
		b.add(part, line+i)
		b.end()
	}
	return b.done
}

func named(kind kind, name string, line int) passage {
	return passage{kind, name, []mark{{0, line}}}
}

// words splits a name in mixed caps into words in lower case.
func words(name string) []string {
	var found []string
	runes, start := []rune(name), 0
	for i := 1; i <= len(runes); i++ {
		if i == len(runes) || unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i-1]) || runes[i] == '_' {
			found = append(found, strings.ToLower(strings.Trim(string(runes[start:i]), "_")))
			start = i
		}
	}
	return found
}

// extractComments returns the comments that stand on lines of their own or, with
// a space before the mark, at the end of a line.
func extractComments(content []byte, mark string) []passage {
	b := builder{kind: prose}
	for i, text := range strings.Split(string(content), "\n") {
		code, comment, ok := strings.Cut(text, mark)
		switch {
		case !ok:
			b.end()
		case strings.TrimSpace(code) == "":
			b.comment(mark+comment, i+1)
		case strings.HasSuffix(code, " ") && strings.Count(code, `"`)%2 == 0 && strings.Count(code, `'`)%2 == 0:
			b.end()
			b.comment(mark+comment, i+1)
			b.end()
		}
	}
	b.end()
	return b.done
}

// extractMarkdown returns paragraphs, items of lists and cells of tables. Code in
// a line is kept as one word, of a link only its text.
func extractMarkdown(content []byte) []passage {
	b := builder{kind: prose}
	fence, blank, indented := "", true, false
	for i, line := range strings.Split(string(bytes.ReplaceAll(content, []byte("\r"), nil)), "\n") {
		trimmed := strings.TrimSpace(line)
		wasBlank := blank
		blank = trimmed == ""
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
			continue
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
			b.end()
			continue
		case strings.HasPrefix(line, "    ") && (wasBlank || indented) && !listItem.MatchString(line):
			indented = true
			b.end()
			continue
		case blank, strings.HasPrefix(trimmed, "<!--"):
			b.end()
			continue
		}
		indented = false
		text := plain(trimmed)
		switch {
		case strings.HasPrefix(text, "|"):
			b.end()
			for cell := range strings.SplitSeq(strings.Trim(text, "|"), "|") {
				b.add(cell, i+1)
				b.end()
			}
		case strings.HasPrefix(text, "#"):
			b.end()
			b.add(strings.TrimLeft(text, "# "), i+1)
			b.end()
		case listItem.MatchString(text):
			b.end()
			b.add(text[len(listItem.FindString(text)):], i+1)
		default:
			b.add(strings.TrimPrefix(text, ">"), i+1)
		}
	}
	b.end()
	return b.done
}

var (
	inlineCode = regexp.MustCompile("`+[^`]*`+")
	link       = regexp.MustCompile(`\]\([^)]*\)`)
)

// plain replaces code by a word that breaks no rule, and removes targets of links.
func plain(text string) string {
	return link.ReplaceAllString(inlineCode.ReplaceAllString(text, "`code`"), "]")
}
