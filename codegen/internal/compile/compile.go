// Package compile compiles .proto files to descriptors, and reports the place of each
// mistake. Begin with [Files]. It writes no files.
package compile

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A Result is the result of [Files].
type Result struct {
	// Sets are the named files that compile. Each set is one registry of names. The files
	// of a directory are in one set. Directories that declare the same names without
	// importing each other are in different sets.
	Sets [][]protoreflect.FileDescriptor
	// Mistakes are the mistakes of all files, sorted by place.
	Mistakes Mistakes
	// Left are the named files that do not compile, sorted. Each has a mistake, or
	// imports a file with a mistake.
	Left []string
	// Warnings are sorted by place.
	Warnings Mistakes

	nodes map[string]*node
}

// Related reports whether two of the named files may have services of one protocol.
// They must be in one directory and have services. In addition they must have the same
// package, or both import the options that name a protocol. Related works for files
// with mistakes too.
func (r *Result) Related(a, b string) bool {
	one, other := r.nodes[a], r.nodes[b]
	if one == nil || other == nil || !one.hasServices || !other.hasServices || path.Dir(a) != path.Dir(b) {
		return false
	}
	return one.pkg == other.pkg || one.imported(optionsFile) && other.imported(optionsFile)
}

// All returns the files of all sets.
func (r *Result) All() []protoreflect.FileDescriptor { return slices.Concat(r.Sets...) }

// Outline returns the package of a file, and whether the file has services. It ignores
// imports and mistakes. An unreadable file has neither.
func Outline(source Source, name string) (pkg string, hasServices bool) {
	n := &node{name: name}
	source.parse(n)
	return n.pkg, n.hasServices
}

// Files compiles the named files and keeps their comments. The files can import each
// other, other files of the source, plugwire/options.proto and google/protobuf/*.proto.
//
// Mistakes are part of the result. The sets lack only files with a mistake, and files
// that import them. Files returns an error for any other failure, such as the end of
// ctx.
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

// compile links the files of a batch. It adds mistakes to the graph, and then starts
// again without the files that have them.
func (g *graph) compile(ctx context.Context, batch []string) ([]protoreflect.FileDescriptor, error) {
	for {
		batch = slices.DeleteFunc(batch, g.isBad)
		if len(batch) == 0 {
			return nil, nil
		}
		var found, warnings Mistakes
		compiler := protocompile.Compiler{
			Resolver: g,
			Reporter: reporter.NewReporter(
				func(err reporter.ErrorWithPos) error {
					found = append(found, mistakeOf(err))
					return nil // continue, to report all mistakes
				},
				func(warning reporter.ErrorWithPos) { warnings = append(warnings, mistakeOf(warning)) },
			),
			SourceInfoMode: protocompile.SourceInfoStandard,
		}
		compiled, err := compiler.Compile(ctx, batch...)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && len(found) == 0 {
			g.warnings = append(g.warnings, warnings...)
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
			return nil, fmt.Errorf("%w\nthe mistake is in no named file", found.Sorted().Error(g.source)) // without this, the loop would never end
		}
	}
}

// Descriptors returns the descriptors of files and of all their imports. Each is after
// its imports: protoc plugins require that order.
func Descriptors(files []protoreflect.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	var all []*descriptorpb.FileDescriptorProto
	for _, f := range Closure(files) {
		all = append(all, protoutil.ProtoFromFileDescriptor(f))
	}
	return all
}

// Closure returns files and all their imports, each after its own imports.
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
