package docs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A quote is a block of code in a page. The line before it says where it is from:
// <!-- file: NAME --> if it is the whole file, or <!-- from: NAME --> if its lines are
// in the file one after another, at any indentation.
type quote struct {
	kind, name, text string
}

// quoted are the files that pages promise to show whole.
var quoted = map[string][]string{
	"README.md": {
		"plugins/hello/cmd/hello-plugin/main.go",
		"plugins/hello/cmd/hello-host/main.go",
	},
	"docs/writing-a-transport.md": {
		"examples/socketpair/socketpair.go",
		"examples/socketpair/socketpair_test.go",
	},
	"docs/migrating-from-go-plugin.md": {
		"examples/migrating/before/cmd/greeter-plugin/main.go",
		"examples/migrating/before/cmd/greeter-host/main.go",
		"examples/migrating/after/cmd/greeter-plugin/main.go",
		"examples/migrating/after/cmd/greeter-host/main.go",
	},
}

// TestPagesQuoteTheCode compares all quotes of all pages with the files.
func TestPagesQuoteTheCode(t *testing.T) {
	whole := make(map[string]bool) // page and file
	for _, page := range pages(t) {
		quotes, err := quotesOf(read(t, page))
		if err != nil {
			t.Errorf("%s: %v", page, err)
		}
		for _, q := range quotes {
			whole[page+" "+q.name] = q.kind == "file"
			switch file := rendered(q.name, read(t, q.name)); {
			case q.kind == "file" && file != q.text:
				t.Errorf("%s: this is not %s%s", page, q.name, firstDifference(file, q.text))
			case q.kind == "from" && !contains(file, q.text):
				t.Errorf("%s: this does not stand in %s:\n%s", page, q.name, q.text)
			}
		}
	}
	for page, names := range quoted {
		for _, name := range names {
			if !whole[page+" "+name] {
				t.Errorf("%s does not quote %s", page, name)
			}
		}
	}
}

// rendered returns what plugwire-gen new writes for a template, if the plugin's name is
// hello. Another file is returned as it is.
func rendered(name, file string) string {
	if !strings.HasSuffix(name, ".tmpl") {
		return file
	}
	return strings.NewReplacer("{{.Package}}", "hello", "{{.Name}}", "hello").Replace(file)
}

// quotesOf returns the quotes of a page.
func quotesOf(page string) ([]quote, error) {
	var quotes []quote
	lines := strings.Split(page, "\n")
	for i, line := range lines {
		kind, name, ok := strings.Cut(strings.TrimPrefix(line, "<!-- "), ": ")
		if !ok || !strings.HasPrefix(line, "<!-- ") || kind != "file" && kind != "from" {
			continue
		}
		name, ok = strings.CutSuffix(name, " -->")
		rest := lines[i+1:]
		if !ok || len(rest) == 0 || !strings.HasPrefix(rest[0], "```") {
			return quotes, fmt.Errorf("%s: a fence must follow the mark directly", line)
		}
		end := slices.Index(rest, "```")
		if end < 1 {
			return quotes, fmt.Errorf("%s: the fence has no end", line)
		}
		quotes = append(quotes, quote{kind, name, strings.Join(rest[1:end], "\n") + "\n"})
	}
	return quotes, nil
}

// contains reports whether a file has these lines one after another, all of them
// with the same number of additional tabs.
func contains(file, text string) bool {
	lines := strings.Split(file, "\n")
	wanted := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for range 3 {
		for i := range len(lines) - len(wanted) + 1 {
			if slices.Equal(lines[i:i+len(wanted)], wanted) {
				return true
			}
		}
		for i, line := range wanted {
			if line != "" {
				wanted[i] = "\t" + line
			}
		}
	}
	return false
}

// firstDifference says where two texts begin to differ.
func firstDifference(file, page string) string {
	theirs, ours := strings.Split(file, "\n"), strings.Split(page, "\n")
	for i, line := range ours {
		if i >= len(theirs) || theirs[i] != line {
			return fmt.Sprintf(", whose line %d is another:\n%s", i+1, line)
		}
	}
	return ", which goes on"
}

func TestQuotesOf(t *testing.T) {
	const page = "# T\n\n<!-- file: a/b.go -->\n```go\npackage b\n\nvar x = 1\n```\n\n```go\nother\n```\n<!-- from: c.proto -->\n```proto\npackage c;\n```\n<!-- a comment -->\n"
	got, err := quotesOf(page)
	want := []quote{{"file", "a/b.go", "package b\n\nvar x = 1\n"}, {"from", "c.proto", "package c;\n"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, broken := range []string{
		"<!-- file: a.go\n```go\n```\n",
		"<!-- file: a.go -->\n\n```go\nx\n```\n",
		"<!-- from: a.go -->\n```go\nx\n",
	} {
		if got, err := quotesOf(broken); err == nil {
			t.Errorf("quotesOf(%q) = %v, want an error", broken, got)
		}
	}
}

func TestContains(t *testing.T) {
	const file = "a\n\tb\n\n\t\tc\nd\n"
	for text, want := range map[string]bool{"b\n\n\tc\n": true, "\tb\n": true, "a\n": true, "b\n\nc\n": false, "a\nd\n": false, "x\n": false} {
		if got := contains(file, text); got != want {
			t.Errorf("contains(%q) = %v, want %v", text, got, want)
		}
	}
}
