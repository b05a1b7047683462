package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// asCommand is an environment variable that turns the test binary into the command.
const asCommand = "PROTOC_GEN_GO_PLUGWIRE_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command runs the command and returns its output.
func command(t *testing.T, stdin []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// newRequest returns the request that protoc would write to the command for .proto
// files of the repository.
func newRequest(t *testing.T, parameter string, names ...string) []byte {
	t.Helper()
	source := compile.Source{
		Open: func(name string) (io.ReadCloser, error) {
			return os.Open(filepath.Join("..", "..", "..", filepath.FromSlash(name)))
		},
		Path: func(name string) string { return name },
	}
	result, err := compile.Files(t.Context(), source, names)
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Mistakes.Error(source); err != nil {
		t.Fatal(err)
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      &parameter,
		ProtoFile:      compile.Descriptors(result.All()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// generate runs the command as protoc does.
func generate(t *testing.T, parameter string, names ...string) *pluginpb.CodeGeneratorResponse {
	t.Helper()
	stdout, stderr, err := command(t, newRequest(t, parameter, names...))
	if err != nil || stderr != "" {
		t.Fatalf("%v, stderr %q", err, stderr)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal([]byte(stdout), &response); err != nil {
		t.Fatal(err)
	}
	return &response
}

func TestUnderProtoc(t *testing.T) {
	names := []string{"codegen/internal/e2e/multi/multi.proto", "codegen/internal/e2e/named/named.proto"}
	response := generate(t, "paths=source_relative", names...)
	if response.Error != nil {
		t.Fatal(response.GetError())
	}
	if n := len(response.GetFile()); n != len(names) {
		t.Errorf("got %d files, want %d", n, len(names))
	}
	for _, f := range response.GetFile() {
		golden, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(f.GetName())))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), f.GetContent()); diff != "" {
			t.Errorf("%s (-committed +generated):\n%s", f.GetName(), diff)
		}
	}
}

func TestParametersOfProtocGenGo(t *testing.T) {
	const name = "codegen/internal/e2e/multi/multi.proto"
	response := generate(t, "module=github.com/plugwire/plugwire/codegen,M"+name+"=github.com/plugwire/plugwire/codegen/moved;other", name)
	if len(response.GetFile()) != 1 || response.GetFile()[0].GetName() != "moved/multi_plugwire.pb.go" {
		t.Fatalf("got %v", response)
	}
	if content := response.GetFile()[0].GetContent(); !strings.Contains(content, "\npackage other\n") {
		t.Errorf("want package other, got\n%s", content)
	}
}

// TestParameterProtocol checks that a protocol in the parameters overrides the
// protocol in the file. Users cannot edit other people's files.
func TestParameterProtocol(t *testing.T) {
	const name = "codegen/internal/e2e/named/named.proto"
	response := generate(t, "paths=source_relative,protocol="+name+"=tfplugin/6", name)
	if len(response.GetFile()) != 1 || strings.Count(response.GetFile()[0].GetContent(), `protocol.New("tfplugin", 6, `) != 1 {
		t.Fatalf("got %v", response)
	}
	request := newRequest(t, "protocol="+name+"=tfplugin", name)
	if _, stderr, err := command(t, request); err == nil || !strings.Contains(stderr, "want FILE=NAME/VERSION") {
		t.Errorf("%v, stderr %q", err, stderr)
	}
}

func TestUnknownParameter(t *testing.T) {
	request := newRequest(t, "path=source_relative", "codegen/internal/e2e/multi/multi.proto")
	if stdout, stderr, err := command(t, request); err == nil || stdout != "" || !strings.Contains(stderr, `unknown parameter "path"`) {
		t.Errorf("%v, stdout %q, stderr %q", err, stdout, stderr)
	}
}

// TestByHand runs the command as a person may: without protoc and buf.
func TestByHand(t *testing.T) {
	if _, stderr, err := command(t, nil, "-h"); err != nil || !strings.Contains(stderr, "plugwire-gen generate") {
		t.Errorf("-h: %v, %q", err, stderr)
	}
	if stdout, _, err := command(t, nil, "-version"); err != nil || !strings.HasPrefix(stdout, "protoc-gen-go-plugwire ") {
		t.Errorf("-version: %v, %q", err, stdout)
	}
	if _, stderr, err := command(t, nil, "a.proto"); err == nil || !strings.Contains(stderr, "usage: ") {
		t.Errorf("a.proto: %v, %q", err, stderr)
	}
}
