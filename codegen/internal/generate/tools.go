package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/plugwire/plugwire/codegen"
	"github.com/plugwire/plugwire/codegen/internal/glue"
	"github.com/plugwire/plugwire/codegen/internal/gocmd"
)

// tools are the protoc plugins that are commands of other modules, which can be
// run but not imported. This module's go.mod says which releases.
var tools = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

// patience is how long a person watches nothing happen before he wants to know
// what it is. A tool that is compiled already takes a fraction of it.
const patience = 2 * time.Second

// runTools returns what all generators make of the request.
func runTools(ctx context.Context, request *pluginpb.CodeGeneratorRequest, o Options) (files []file, err error) {
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	dir, err := toolsDir()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, tool := range tools {
		stop := announce(o.Progress, "compiling "+tool+", which is done once")
		generated, err := runTool(ctx, dir, tool, encoded)
		stop()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tool, err)
		}
		files = append(files, generated...)
	}
	if o.GRPCOnly {
		return files, nil
	}
	generated, err := runGlue(encoded)
	return append(files, generated...), err
}

// announce writes a line to w, which may be nil, unless stop is called before
// that becomes worthwhile. Nothing is written after stop has returned.
func announce(w io.Writer, line string) (stop func()) {
	if w == nil {
		return func() {}
	}
	written := make(chan struct{})
	timer := time.AfterFunc(patience, func() {
		defer close(written)
		_, _ = fmt.Fprintln(w, line) // nowhere to report a failure
	})
	return func() {
		if !timer.Stop() {
			<-written
		}
	}
}

// toolsDir makes a directory in which the go command finds the tools' releases,
// and is independent of the module that plugwire-gen is run in.
func toolsDir() (string, error) {
	dir, err := os.MkdirTemp("", "plugwire-gen-")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, codegen.Module); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// runTool runs one protoc plugin.
func runTool(ctx context.Context, dir, tool string, request []byte) ([]file, error) {
	var stdout, stderr bytes.Buffer
	cmd := gocmd.Command(ctx, dir, "tool", tool)
	// A workspace would choose other releases, and the tool runs here even if
	// its user compiles for another platform, from a vendor directory, with
	// another go.mod or without modules.
	cmd.Env = append(cmd.Env, "GOWORK=off", "GO111MODULE=on", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH,
		"GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=readonly -modfile=")
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", gocmd.Explain(err), stderr.Bytes())
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(stdout.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("decode the response: %w", err)
	}
	return contents(&response)
}

// runGlue runs this module's own generator. It decodes the request anew, as the
// tools do, so that its options look the same as under protoc.
func runGlue(encoded []byte) ([]file, error) {
	var request pluginpb.CodeGeneratorRequest
	if err := proto.Unmarshal(encoded, &request); err != nil {
		return nil, fmt.Errorf("decode the request: %w", err)
	}
	plugin, err := protogen.Options{}.New(&request)
	if err != nil {
		return nil, err
	}
	if err := glue.Generate(plugin); err != nil {
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
