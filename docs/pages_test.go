// Package docs_test keeps the pages of this repository true. Their links lead
// somewhere, and the code that they quote is the code that is tested. The names on
// them exist, and the commands of getting-started.md and tools.md run. The pages
// configuration.md and architecture.md are complete.
//
// The package is in the module at the root of the repository. So the go command
// runs these tests again when a file has changed that they read.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the root directory of the repository.
const root = ".."

// read returns the content of a file, whose slash-separated name is relative to
// the root of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// exists reports whether there is a file or a directory of that name.
func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// pages returns the names of all Markdown files of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (name[0] == '.' || name == "node_modules" || name == "testdata" || name == "bin"):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		relative, err := filepath.Rel(root, path)
		found = append(found, filepath.ToSlash(relative))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// prose returns a page's lines with those of code blocks left empty: between
// fences, or indented by four spaces after an empty line.
func prose(page string) []string {
	lines := unfenced(page)
	indented, before := false, ""
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "    ") && (indented || before == ""):
			indented = true
			lines[i] = ""
		case line != "":
			indented = false
		}
		before = line
	}
	return lines
}

// unfenced returns a page's lines with those between fences left empty.
func unfenced(page string) []string {
	lines := strings.Split(page, "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimLeft(line, " "), "```")
		if fence {
			fenced = !fenced
		}
		if fence || fenced {
			lines[i] = ""
		}
	}
	return lines
}

var codeSpan = regexp.MustCompile("`[^`]+`")

// spans returns the code spans of a line, without the marks.
func spans(line string) []string {
	found := codeSpan.FindAllString(line, -1)
	for i, span := range found {
		found[i] = strings.Trim(span, "`")
	}
	return found
}

// rows returns the cells of the lines of a page's tables, without their heads.
func rows(page string) [][]string {
	var found [][]string
	head := true
	for _, line := range prose(page) {
		if !strings.HasPrefix(line, "|") {
			head = true
			continue
		}
		if strings.HasPrefix(line, "|-") || strings.HasPrefix(line, "| -") {
			head = false
			continue
		}
		if head {
			continue
		}
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|"))
		}
		found = append(found, cells)
	}
	return found
}
