package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// tools are the protoc plugins that generate the code. go.mod says which
// releases.
var tools = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

// generatedFile is one Go file; its name is a slash-separated path relative to
// the root.
type generatedFile struct {
	name    string
	content []byte
}

func (f generatedFile) path(root string) string {
	return filepath.Join(root, filepath.FromSlash(f.name))
}

// runTool runs one protoc plugin on the request and returns what it generates.
func runTool(ctx context.Context, tool string, request *pluginpb.CodeGeneratorRequest) ([]generatedFile, error) {
	input, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("%s: encode the request: %w", tool, err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", tool) //nolint:gosec // tool is one of tools
	// The repository's workspace would choose other releases, or none.
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", tool, err, stderr.Bytes())
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(stdout.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("%s: decode the response: %w", tool, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", tool, response.GetError())
	}
	var files []generatedFile
	for _, f := range response.GetFile() {
		if !fs.ValidPath(f.GetName()) {
			return nil, fmt.Errorf("%s: file %q lies outside the root", tool, f.GetName())
		}
		files = append(files, generatedFile{f.GetName(), []byte(f.GetContent())})
	}
	return files, nil
}
