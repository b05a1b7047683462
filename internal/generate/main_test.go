package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const clockProto = `syntax = "proto3";

package clock;

import "google/protobuf/timestamp.proto";
import "zone/zone.proto";

option go_package = "example.com/clock";

// Clock tells the time.
service Clock {
  // Now returns the time in a zone.
  rpc Now(zone.Zone) returns (google.protobuf.Timestamp);
}
`

const zoneProto = `syntax = "proto3";

package zone;

option go_package = "example.com/zone";

message Zone {
  // Name in the IANA database.
  string name = 1;
}
`

// newRoot returns a directory that holds the given files, by slash-separated
// name.
func newRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// generateIn runs the command and returns its exit code and what it printed.
func generateIn(t *testing.T, root string, args ...string) (int, string) {
	t.Helper()
	var stderr bytes.Buffer
	code := run(t.Context(), append([]string{"-root", root}, args...), &stderr)
	return code, stderr.String()
}

// goFiles returns the generated files below root, by slash-separated name.
func goFiles(t *testing.T, root string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGenerate(t *testing.T) {
	root := newRoot(t, map[string]string{"clock/clock.proto": clockProto, "zone/zone.proto": zoneProto})
	if code, stderr := generateIn(t, root, "clock/clock.proto", "zone/zone.proto"); code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr: %s", code, stderr)
	}
	files := goFiles(t, root)
	for name, want := range map[string][]string{
		"clock/clock.pb.go":      {"// source: clock/clock.proto\n", "protoc-gen-go v1.36.12\n"},
		"clock/clock_grpc.pb.go": {"// Clock tells the time.\n", "// Now returns the time in a zone.\n", "protoc-gen-go-grpc v1.6.2\n"},
		"zone/zone.pb.go":        {"// Name in the IANA database.\n"},
	} {
		content, ok := files[name]
		if !ok {
			t.Errorf("%s was not written", name)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), name, content, 0); err != nil {
			t.Error(err)
		}
		for _, text := range want {
			if !strings.Contains(content, text) {
				t.Errorf("%s does not contain %q", name, text)
			}
		}
	}
	if len(files) != 3 {
		t.Errorf("%d files were written, want 3", len(files))
	}
}

func TestCheck(t *testing.T) {
	root := newRoot(t, map[string]string{"clock/clock.proto": clockProto, "zone/zone.proto": zoneProto})
	check := func() (int, string) {
		t.Helper()
		return generateIn(t, root, "-check", "clock/clock.proto", "zone/zone.proto")
	}

	code, stderr := check()
	want := "generated code is not current:\nclock/clock.pb.go: missing\nclock/clock_grpc.pb.go: missing\nzone/zone.pb.go: missing\n"
	if diff := cmp.Diff(want, stderr); code != 1 || diff != "" {
		t.Errorf("nothing generated: exit code %d, stderr (-want +got):\n%s", code, diff)
	}
	if files := goFiles(t, root); len(files) != 0 {
		t.Errorf("-check wrote %d files", len(files))
	}

	if code, stderr := generateIn(t, root, "clock/clock.proto", "zone/zone.proto"); code != 0 {
		t.Fatalf("exit code %d, stderr: %s", code, stderr)
	}
	if code, stderr := check(); code != 0 || stderr != "" {
		t.Errorf("all current: exit code %d, stderr: %s", code, stderr)
	}

	stale := filepath.Join(root, "zone", "zone.pb.go")
	if err := os.WriteFile(stale, []byte("package zone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stderr = check()
	if diff := cmp.Diff("generated code is not current:\nzone/zone.pb.go: stale\n", stderr); code != 1 || diff != "" {
		t.Errorf("one stale: exit code %d, stderr (-want +got):\n%s", code, diff)
	}
	if content, err := os.ReadFile(stale); err != nil || string(content) != "package zone\n" {
		t.Errorf("-check changed the stale file to %q, %v", content, err)
	}
}

func TestErrors(t *testing.T) {
	root := newRoot(t, map[string]string{
		"broken.proto":     "syntax = \"proto3\";\nmessage A {\n  string a = 1;\n  string b = 1;\n  string c = 0;\n}\n",
		"unknown.proto":    "syntax = \"proto3\";\nmessage A {\n  Missing a = 1;\n}\n",
		"import.proto":     "syntax = \"proto3\";\nimport \"absent.proto\";\n",
		"unused.proto":     "syntax = \"proto3\";\nimport \"google/protobuf/empty.proto\";\n",
		"no_package.proto": "syntax = \"proto3\";\n",
	})
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"every error with its position", []string{"broken.proto"}, 1, []string{"broken.proto:4:14: ", "broken.proto:5:14: "}},
		{"unknown type", []string{"unknown.proto"}, 1, []string{"unknown.proto:3:3: ", "Missing"}},
		{"import", []string{"import.proto"}, 1, []string{"import.proto:2:8: ", "absent.proto"}},
		{"warning", []string{"unused.proto"}, 1, []string{"unused.proto:2:1: warning: "}},
		{"the tool's error", []string{"no_package.proto"}, 1, []string{"protoc-gen-go: ", "go_package"}},
		{"no such file", []string{"absent.proto"}, 1, []string{"absent.proto"}},
		{"outside the root", []string{"../a.proto"}, 1, []string{"../a.proto: want the slash-separated path"}},
		{"not a proto file", []string{"a.go"}, 1, []string{"a.go: want the slash-separated path"}},
		{"no files", nil, 2, []string{"usage: "}},
		{"unknown flag", []string{"-x"}, 2, []string{"-x", "usage: "}},
		{"help", []string{"-h"}, 0, []string{"usage: ", "-check", "-root directory"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stderr := generateIn(t, root, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, text := range tt.want {
				if !strings.Contains(stderr, text) {
					t.Errorf("stderr does not contain %q:\n%s", text, stderr)
				}
			}
		})
	}
	if files := goFiles(t, root); len(files) != 0 {
		t.Errorf("%d files were written", len(files))
	}
}
