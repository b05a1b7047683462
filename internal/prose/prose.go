// Package prose checks the English of the repository: comments and texts of Go
// files, comments of .proto files and scripts, and Markdown pages. It sees words
// and patterns that make a sentence hard to read, long sentences, and types that
// are not named by a noun. Start with Check. It cannot judge whether a sentence
// is true or worth its place: a reader has to.
package prose

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Finding is a place in a file that breaks a rule.
type Finding struct {
	File   string // slash-separated, relative to the root
	Line   int
	Rule   string // its name, which the list of exceptions uses
	Text   string // the words that break it
	Advice string // what to write instead
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %q: %s", f.File, f.Line, f.Rule, f.Text, f.Advice)
}

// list is the file of exceptions of the repository.
const list = "internal/prose/exceptions.txt"

// CheckRepository checks the repository at root, with its list of exceptions.
func CheckRepository(root string) ([]Finding, error) {
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(list)))
	if err != nil {
		return nil, err
	}
	exceptions, err := ParseExceptions(list, string(content))
	if err != nil {
		return nil, err
	}
	return Check(root, exceptions)
}

// Check checks all files below root, and returns what breaks a rule in the order
// of files and lines. An exception that is not needed is a finding too.
func Check(root string, exceptions *Exceptions) ([]Finding, error) {
	var findings []Finding
	err := walk(root, func(name string, content []byte) error {
		passages, err := extract(name, content)
		if err != nil {
			return err
		}
		for _, p := range passages {
			for _, f := range judge(p) {
				f.File = name
				if !exceptions.allow(f, p.text) {
					findings = append(findings, f)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	findings = append(findings, exceptions.unused()...)
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	return findings, nil
}

// walk calls visit for each file that may hold prose. It leaves out test data,
// hidden directories, what npm has installed, and a virtual environment of Python.
func walk(root string, visit func(name string, content []byte) error) error {
	return filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		if entry.IsDir() {
			if skipDir(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if language(name) == unknown {
			return nil
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return visit(name, content)
	})
}

func skipDir(name string) bool {
	switch base := path.Base(name); base {
	case ".", ".ci", ".github":
		return false
	case "testdata", "node_modules", "venv", "bin":
		return true
	default:
		return base[0] == '.'
	}
}
