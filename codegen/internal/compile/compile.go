// Package compile parses .proto files and says where a mistake in one is. Begin
// with [Files]. It writes nothing.
package compile

import (
	"bufio"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// builtin holds the options that every file can import. It is a copy of
// core/proto, as no module can embed another's files; a test compares the two.
//
//go:embed plugwire/options.proto
var builtin embed.FS

// A Source is where .proto files come from.
type Source struct {
	// Open opens a file by the slash-separated name by which others import it.
	Open func(name string) (io.ReadCloser, error)
	// Path returns what messages call the file.
	Path func(name string) string
}

func (s Source) open(name string) (io.ReadCloser, error) {
	file, err := s.Open(name)
	if err == nil {
		return file, nil
	}
	if own, ownErr := builtin.Open(name); ownErr == nil {
		return own, nil
	}
	return nil, err
}

// Files compiles the named files. They can import each other, other files of
// the source, plugwire/options.proto and google/protobuf/*.proto. Comments are
// kept. The error holds every mistake, not only the first, as file:line:column:
// text followed by the line; warnings go to warnings in the same form.
func Files(ctx context.Context, source Source, names []string, warnings io.Writer) ([]protoreflect.FileDescriptor, error) {
	var problems []problem
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{Accessor: source.open}),
		Reporter: reporter.NewReporter(
			func(err reporter.ErrorWithPos) error {
				problems = append(problems, problem{err.GetPosition(), err.Unwrap().Error()})
				return nil // go on, to report them all
			},
			func(warning reporter.ErrorWithPos) {
				at := warning.GetPosition()
				text := source.Describe(at.Filename, at.Line, at.Col, "warning: "+warning.Unwrap().Error())
				_, _ = fmt.Fprintln(warnings, text) // nowhere to report a failure
			},
		),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, names...)
	if len(problems) > 0 {
		return nil, source.join(problems)
	}
	if err != nil {
		return nil, err
	}
	files := make([]protoreflect.FileDescriptor, len(compiled))
	for i, f := range compiled {
		files[i] = f
	}
	return files, nil
}

// A problem is a mistake or something odd in a file.
type problem struct {
	at   ast.SourcePos
	text string
}

// join makes one error of all problems, in the order of their places.
func (s Source) join(problems []problem) error {
	slices.SortStableFunc(problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.Filename, b.at.Filename), a.at.Line-b.at.Line, a.at.Col-b.at.Col)
	})
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = errors.New(s.Describe(p.at.Filename, p.at.Line, p.at.Col, p.text))
	}
	return errors.Join(errs...)
}

// Describe says what is wrong at a place in a file, and shows the line.
func (s Source) Describe(file string, line, column int, what string) string {
	text := fmt.Sprintf("%s:%d:%d: %s", s.Path(file), line, column, what)
	if content, ok := s.line(file, line); ok {
		text += "\n    " + content
	}
	return text
}

func (s Source) line(name string, number int) (string, bool) {
	file, err := s.open(name)
	if err != nil {
		return "", false
	}
	defer func() { _ = file.Close() }() // was only read
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		if n == number {
			return strings.TrimSpace(lines.Text()), true
		}
	}
	return "", false
}

// Descriptors returns the descriptors of files and of all that they import,
// each after what it imports, which is the order that a protoc plugin expects.
func Descriptors(files []protoreflect.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	var all []*descriptorpb.FileDescriptorProto
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		imports := f.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		all = append(all, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return all
}
