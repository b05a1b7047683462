// Package compile parses .proto files and says where a mistake in one is. Begin
// with [Files]. It writes nothing.
package compile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A Result is what became of the named files.
type Result struct {
	// Sets are the files that compile. Files of one directory are in one set.
	// Directories that declare the same names without importing each other are
	// in different sets, as one set is one registry of names.
	Sets [][]protoreflect.FileDescriptor
	// Mistakes are those of all files, sorted by place.
	Mistakes Mistakes
	// Left are the named files that do not compile, sorted. Each has a mistake,
	// or imports a file that has one.
	Left []string
	// Warnings are sorted by place.
	Warnings Mistakes

	nodes map[string]*node
}

// Related reports whether two of the named files can have services of one
// protocol: both have services and lie in one directory, and both are of one
// package or import the options with which a file names its protocol. Related
// works for files with mistakes too.
func (r *Result) Related(a, b string) bool {
	one, other := r.nodes[a], r.nodes[b]
	if one == nil || other == nil || one.services == "" || other.services == "" || path.Dir(a) != path.Dir(b) {
		return false
	}
	return one.services == other.services || one.imported(optionsFile) && other.imported(optionsFile)
}

// All returns the files of all sets.
func (r *Result) All() []protoreflect.FileDescriptor { return slices.Concat(r.Sets...) }

// Files compiles the named files. They can import each other, other files of
// the source, plugwire/options.proto and google/protobuf/*.proto. Comments are
// kept. Mistakes in files are in the result; they leave out only the files that
// have them, and the files that import those. The error is for what is not a
// mistake in a file, such as the end of ctx.
func Files(ctx context.Context, source Source, names []string) (*Result, error) {
	g, err := load(ctx, source, names)
	if err != nil {
		return nil, err
	}
	result := &Result{nodes: g.nodes}
	for _, batch := range g.batches(names) {
		files, err := g.compile(ctx, batch)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			result.Sets = append(result.Sets, files)
		}
	}
	compiled := make(map[string]bool)
	for _, f := range result.All() {
		compiled[f.Path()] = true
	}
	for _, name := range names {
		if !compiled[name] {
			result.Left = append(result.Left, name)
		}
	}
	slices.Sort(result.Left)
	result.Mistakes, result.Warnings = g.mistakes.Sorted(), g.warnings.Sorted()
	return result, nil
}

// compile links the files of one batch that have no mistakes. It adds the
// mistakes that it finds to the graph, and begins again without these files.
func (g *graph) compile(ctx context.Context, batch []string) ([]protoreflect.FileDescriptor, error) {
	for {
		batch = slices.DeleteFunc(batch, g.isBad)
		if len(batch) == 0 {
			return nil, nil
		}
		var found, odd Mistakes
		compiler := protocompile.Compiler{
			Resolver: g,
			Reporter: reporter.NewReporter(
				func(err reporter.ErrorWithPos) error {
					found = append(found, mistakeOf(err))
					return nil // go on, to report them all
				},
				func(warning reporter.ErrorWithPos) { odd = append(odd, mistakeOf(warning)) },
			),
			SourceInfoMode: protocompile.SourceInfoStandard,
		}
		compiled, err := compiler.Compile(ctx, batch...)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && len(found) == 0 {
			g.warnings = append(g.warnings, odd...)
			files := make([]protoreflect.FileDescriptor, len(compiled))
			for i, f := range compiled {
				files[i] = f
			}
			return files, nil
		}
		if at, ok := errors.AsType[reporter.ErrorWithPos](err); ok && len(found) == 0 {
			found = append(found, mistakeOf(at))
		}
		if len(found) == 0 {
			return nil, err
		}
		for _, m := range found {
			g.add(m)
		}
		if !slices.ContainsFunc(batch, g.isBad) {
			return nil, fmt.Errorf("%w\nno file that was named has it", found.Sorted().Error(g.source)) // or this would not end
		}
	}
}

// Descriptors returns the descriptors of files and of all that they import,
// each after what it imports, which is the order that a protoc plugin expects.
func Descriptors(files []protoreflect.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	var all []*descriptorpb.FileDescriptorProto
	for _, f := range Closure(files) {
		all = append(all, protoutil.ProtoFromFileDescriptor(f))
	}
	return all
}

// Closure returns files and all that they import, each after what it imports.
func Closure(files []protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	var all []protoreflect.FileDescriptor
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
		all = append(all, f)
	}
	for _, f := range files {
		add(f)
	}
	return all
}

// read returns the content of a file.
func (s Source) read(name string) ([]byte, error) {
	file, err := s.open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(file)
	return content, errors.Join(err, file.Close())
}
