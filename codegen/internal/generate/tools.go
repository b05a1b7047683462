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

// minShard is how many files a tool gets at least if it runs several times at
// once: parsing what the files of each import takes time too.
const minShard = 32

// runAll returns what all generators make of the files of a set, in gofmt's style.
// They run at the same time, and the tools several times, each for some packages.
func (o Options) runAll(ctx context.Context, p *programs, set []protoreflect.FileDescriptor, packages goPackages) ([]file, error) {
	for _, f := range compile.Descriptors(set) {
		glue.TameComments(f) // in place, so before they are read at the same time
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
			if encoded, glueErr = o.encode(set, packages); glueErr == nil { // all, as names are chosen among those of a package
				made[len(made)-1], glueErr = runGlue(encoded, o)
			}
			return glueErr
		})
	}
	err := workers.Wait()
	if glueErr != nil {
		return nil, glueErr // says more than what a tool makes of the same mistake
	}
	if err != nil {
		return nil, err
	}
	all := slices.Concat(made...)
	o.rename(all, set, packages)
	return all, nil
}

// split distributes files, those of a directory together.
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

// encode returns the request for files.
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

// runGlue runs this module's own generator. It decodes the request anew, as the
// tools do, so that its options look the same as under protoc.
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
			return nil, fmt.Errorf("file %q lies outside the root", f.GetName())
		}
		content, err := format.Source([]byte(f.GetContent())) // also shows that Go can read it
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.GetName(), err)
		}
		files = append(files, file{f.GetName(), content})
	}
	return files, nil
}
