package glue

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// An Error is a mistake in a .proto file that its compiler does not know of.
type Error struct {
	// File is the file's name in protobuf's registry; Line and Column count from 1.
	File         string
	Line, Column int
	Text         string
}

// Error returns file:line:column: text.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// newError returns an error about what is declared as d.
func newError(d protoreflect.Descriptor, text string) *Error {
	at := d.ParentFile().SourceLocations().ByDescriptor(d)
	return &Error{File: d.ParentFile().Path(), Line: at.StartLine + 1, Column: at.StartColumn + 1, Text: text}
}
