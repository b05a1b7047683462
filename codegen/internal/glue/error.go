package glue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A Place is a place in a .proto file.
type Place struct {
	// File is the file's name in protobuf's registry. Line and Column count from 1.
	File         string
	Line, Column int
}

// String returns file:line:column.
func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Field numbers of FileDescriptorProto, for placeAt.
const (
	packageField = 2
	dependency   = 3
)

// placeOf returns the place where d is declared. For a file it is the package statement.
func placeOf(d protoreflect.Descriptor) Place {
	if file, ok := d.(protoreflect.FileDescriptor); ok {
		return placeAt(file, packageField)
	}
	return newPlace(d.ParentFile(), d.ParentFile().SourceLocations().ByDescriptor(d))
}

// placeAt returns the place of the element of a file with that path. Without such an
// element it returns the file's first line.
func placeAt(file protoreflect.FileDescriptor, path ...int32) Place {
	return newPlace(file, file.SourceLocations().ByPath(path))
}

func newPlace(file protoreflect.FileDescriptor, at protoreflect.SourceLocation) Place {
	return Place{file.Path(), at.StartLine + 1, at.StartColumn + 1}
}

// An Error is a mistake in a .proto file that only a generator of Go code can find.
type Error struct {
	Place
	// Other is the place of a second declaration that is part of the mistake. Its File is
	// empty if there is none.
	Other Place

	before, after string // text before and after the other place
}

// newError returns an error about the declaration of d.
func newError(d protoreflect.Descriptor, text string) *Error {
	return &Error{Place: placeOf(d), before: text}
}

// Text describes the mistake. It calls path for the spelling of the other file's name.
func (e *Error) Text(path func(name string) string) string {
	if e.Other.File == "" {
		return e.before
	}
	other := e.Other
	other.File = path(other.File)
	return fmt.Sprintf("%s (%s)%s", e.before, other, e.after)
}

// Error returns file:line:column: text.
func (e *Error) Error() string {
	return e.String() + ": " + e.Text(func(name string) string { return name })
}

// Errors are all mistakes in the files of a request, sorted by place.
type Errors []*Error

// Error returns a line for each mistake.
func (errs Errors) Error() string {
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted returns the mistakes as an error, without duplicates. It returns nil if there
// are none.
func (errs Errors) sorted() error {
	slices.SortStableFunc(errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	errs = slices.CompactFunc(errs, func(a, b *Error) bool { return a.Error() == b.Error() })
	if len(errs) == 0 {
		return nil
	}
	return errs
}
