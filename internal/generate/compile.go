package main

import (
	"context"
	"errors"
	"io"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// compile compiles the named files, found below root, into a request for a
// protoc plugin. It keeps source information, because comments travel in it.
// Every error is reported, not only the first, as file:line:column: text.
func compile(ctx context.Context, root string, names []string, stderr io.Writer) (*pluginpb.CodeGeneratorRequest, error) {
	var problems []error
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		Reporter: reporter.NewReporter(
			func(err reporter.ErrorWithPos) error {
				problems = append(problems, err)
				return nil // go on, to report them all
			},
			func(warning reporter.ErrorWithPos) {
				say(stderr, "%s: warning: %v\n", warning.GetPosition(), warning.Unwrap())
			},
		),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      new("paths=source_relative"),
	}
	seen := make(map[string]bool)
	for _, f := range files {
		request.ProtoFile = appendWithImports(request.ProtoFile, f, seen)
	}
	return request, nil
}

// appendWithImports appends f after everything that it imports, which is the
// order that a plugin expects.
func appendWithImports(files []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[f.Path()] {
		return files
	}
	seen[f.Path()] = true
	imports := f.Imports()
	for i := range imports.Len() {
		files = appendWithImports(files, imports.Get(i).FileDescriptor, seen)
	}
	return append(files, protoutil.ProtoFromFileDescriptor(f))
}
