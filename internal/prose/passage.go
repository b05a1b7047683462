package prose

import "strings"

// A passage is a text that belongs together: a paragraph of a comment or a page,
// an item of a list, a string in a Go file, or a name.
type passage struct {
	kind  kind
	text  string
	lines []mark // where the lines of the file begin in text, in order
}

// A mark says which line of the file the text from offset on is from.
type mark struct{ offset, line int }

// A kind says which rules hold for a passage.
type kind int

const (
	prose    kind = iota // comments and pages: all rules except that for types
	message              // a string of a program: the same rules
	typeName             // must be a noun
	testName             // the words of a test's name: the rules for words
)

// line returns the line of the file that the offset of the text is in.
func (p passage) line(offset int) int {
	line := 0
	for _, m := range p.lines {
		if m.offset > offset {
			break
		}
		line = m.line
	}
	return line
}

// A builder joins lines to passages.
type builder struct {
	kind  kind
	done  []passage
	text  strings.Builder
	lines []mark
}

// add appends a line to the passage that is being built.
func (b *builder) add(text string, line int) {
	if b.text.Len() > 0 {
		b.text.WriteByte(' ')
	}
	b.lines = append(b.lines, mark{b.text.Len(), line})
	b.text.WriteString(strings.TrimSpace(text))
}

// end ends the passage that is being built, if there is one.
func (b *builder) end() {
	if b.text.Len() > 0 {
		b.done = append(b.done, passage{b.kind, b.text.String(), b.lines})
	}
	b.text.Reset()
	b.lines = nil
}
