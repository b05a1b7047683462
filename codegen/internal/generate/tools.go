package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// runTools returns what the tools make of a request.
func runTools(ctx context.Context, p *programs, request []byte) ([]file, error) {
	paths, err := p.wait()
	if err != nil {
		return nil, err
	}
	made := make([][]file, len(paths))
	workers, ctx := errgroup.WithContext(ctx)
	for i, path := range paths {
		workers.Go(func() (err error) {
			if made[i], err = runTool(ctx, p.dir, path, request); err != nil {
				return fmt.Errorf("%s: %w", tools[i], err)
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(made...), nil
}

// runTool runs one protoc plugin.
func runTool(ctx context.Context, dir, path string, request []byte) ([]file, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path) //nolint:gosec // the go command has just said where it is
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
		files = append(files, file{f.GetName(), []byte(f.GetContent())})
	}
	return files, nil
}
