package compile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/bufbuild/protocompile/reporter"
)

// A Mistake is an error or a warning at a place in a file.
type Mistake struct {
	// File is the name of the file in import statements. Line and Column count from 1. A
	// Line of 0 stands for the whole file.
	File         string
	Line, Column int
	Text         string
	// Missing is the name of a missing file, if the mistake is its import. Otherwise it
	// is empty.
	Missing string
	// IsPlacement is true if the only problem is where to write the code of the file.
	// Files that import it can be generated.
	IsPlacement bool
}

// Mistakes are the mistakes of several files.
type Mistakes []Mistake

// Describe returns file:line:column: text, and in a second line the line of the file.
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

// Sorted returns the mistakes in the order of their places, without duplicates.
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
