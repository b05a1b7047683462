package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os/exec"
	"path"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/plugwire/plugwire/codegen/internal/compile"
	"github.com/plugwire/plugwire/codegen/internal/glue"
)

// minShard is the least number of files for one run of a tool. Each run also parses all
// imports of its files, so many small runs would take longer.
const minShard = 32

// runAll returns the code that all generators make of the files of a set, in gofmt's
// style. The generators run at the same time. Each tool runs several times, for a part
// of the packages each.
func (o Options) runAll(ctx context.Context, p *programs, set []protoreflect.FileDescriptor, packages goPackages) ([]file, error) {
	for _, f := range compile.Descriptors(set) {
		glue.TameComments(f) // changes f, so this comes before the workers read it
	}
	shards := split(set, min(runtime.GOMAXPROCS(0), len(set)/minShard+1))
	made := make([][]file, len(tools)*len(shards)+1)
	workers, ctx := errgroup.WithContext(ctx)
	for i, shard := range shards {
		workers.Go(func() error {
			encoded, err := o.encode(shard, packages)
			if err != nil {
				return err
			}
			paths, err := p.wait()
			if err != nil {
				return err
			}
			for j, path := range paths {
				workers.Go(func() (err error) {
					if made[i*len(tools)+j], err = runTool(ctx, p.dir, path, encoded); err != nil {
						return fmt.Errorf("%s: %w", tools[j], err)
					}
					return nil
				})
			}
			return nil
		})
	}
	var glueErr error
	if !o.GRPCOnly {
		workers.Go(func() error {
			var encoded []byte
			if encoded, glueErr = o.encode(set, packages); glueErr == nil { // all files, because names must be unique in a package
				made[len(made)-1], glueErr = runGlue(encoded, o)
			}
			return glueErr
		})
	}
	err := workers.Wait()
	if glueErr != nil {
		return nil, glueErr // explains a mistake better than the error of a tool
	}
	if err != nil {
		return nil, err
	}
	all := slices.Concat(made...)
	o.rename(all, set, packages)
	return all, nil
}

// split splits files into shards. The files of a directory stay together.
func split(set []protoreflect.FileDescriptor, shards int) [][]protoreflect.FileDescriptor {
	all := make([][]protoreflect.FileDescriptor, 1)
	for i, f := range set {
		last := &all[len(all)-1]
		if i > 0 && len(*last) >= (len(set)+shards-1)/shards && path.Dir(f.Path()) != path.Dir(set[i-1].Path()) {
			all = append(all, nil)
			last = &all[len(all)-1]
		}
		*last = append(*last, f)
	}
	return all
}

// encode returns the encoded request to generate the files of a set.
func (o Options) encode(set []protoreflect.FileDescriptor, packages goPackages) ([]byte, error) {
	request := &pluginpb.CodeGeneratorRequest{
		Parameter: new(o.layout() + packages.parameters(set)),
		ProtoFile: compile.Descriptors(set),
	}
	for _, f := range set {
		request.FileToGenerate = append(request.FileToGenerate, f.Path())
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return encoded, nil
}

// runTool runs one protoc plugin.
func runTool(ctx context.Context, dir, path string, request []byte) ([]file, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(stdout.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("decode the response: %w", err)
	}
	return contents(&response)
}

// runGlue runs this module's own generator. Like the tools it decodes the request, so
// that options have the same form as under protoc.
func runGlue(encoded []byte, o Options) ([]file, error) {
	var request pluginpb.CodeGeneratorRequest
	if err := proto.Unmarshal(encoded, &request); err != nil {
		return nil, fmt.Errorf("decode the request: %w", err)
	}
	plugin, err := protogen.Options{}.New(&request)
	if err != nil {
		return nil, err
	}
	if err := o.Glue.Generate(plugin); err != nil {
		return nil, err
	}
	return contents(plugin.Response())
}

func contents(response *pluginpb.CodeGeneratorResponse) ([]file, error) {
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	var files []file
	for _, f := range response.GetFile() {
		if !fs.ValidPath(f.GetName()) {
			return nil, fmt.Errorf("file %q is not below the root", f.GetName())
		}
		content, err := format.Source([]byte(f.GetContent())) // also checks the syntax
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.GetName(), err)
		}
		files = append(files, file{f.GetName(), content})
	}
	return files, nil
}
