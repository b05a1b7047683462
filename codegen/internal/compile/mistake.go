package compile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/bufbuild/protocompile/reporter"
)

// A Mistake is what is wrong or odd at a place in a file.
type Mistake struct {
	// File is the name by which others import the file. Line and Column count
	// from 1; a Line of 0 stands for the file as a whole.
	File         string
	Line, Column int
	Text         string
	// Missing is the name of the file that is imported at the place and does not
	// exist. It is empty for every other mistake.
	Missing string
	// IsPlacement is true if only the code of the file itself has no place: files
	// that import it can be generated.
	IsPlacement bool
}

// Mistakes are those of several files.
type Mistakes []Mistake

// Describe returns file:line:column: text, and below it the line.
func (m Mistake) Describe(source Source) string {
	if m.Line == 0 {
		return m.Text
	}
	text := fmt.Sprintf("%s:%d:%d: %s", source.Path(m.File), m.Line, m.Column, m.Text)
	if content, ok := source.line(m.File, m.Line); ok {
		text += "\n    " + content
	}
	return text
}

// Error returns an error that describes all mistakes, or nil if there are none.
func (all Mistakes) Error(source Source) error {
	errs := make([]error, len(all))
	for i, m := range all {
		errs[i] = errors.New(m.Describe(source))
	}
	return errors.Join(errs...)
}

// Sorted returns the mistakes in the order of their places, each once.
func (all Mistakes) Sorted() Mistakes {
	slices.SortStableFunc(all, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(all)
}

func mistakeOf(err reporter.ErrorWithPos) Mistake {
	at := err.GetPosition()
	return Mistake{File: at.Filename, Line: at.Line, Column: at.Col, Text: err.Unwrap().Error()}
}
