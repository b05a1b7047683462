package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// generated is the package that these tests compile.
const generated = "./multi"

// buildWith compiles the package generated with other content for the file at path. It
// returns the compiler's output.
func buildWith(t *testing.T, path, content string) (string, error) {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replacement, overlay := filepath.Join(dir, "file.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(replacement, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]any{"Replace": map[string]string{path: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, generated)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // like go tool mage build, so that both share the build cache
	out, err := build.CombinedOutput()
	return string(out), err
}

// TestCoreThatDoesNotFit checks that generated code does not compile with a core that is
// too old or too new. The compiler's error has the name that says why.
func TestCoreThatDoesNotFit(t *testing.T) {
	path := filepath.Join("..", "..", "..", "core", "protocol", "protocol.go")
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := buildWith(t, path, string(source)); err != nil {
		t.Fatalf("with the present core: %v\n%s", err, out)
	}
	for _, name := range []string{"IsAtLeastVersion0_1_0", "SupportsGeneratedV1"} {
		other := strings.Replace(string(source), "const "+name+" ", "const Other ", 1)
		if other == string(source) {
			t.Errorf("core/protocol has no constant %s", name)
			continue
		}
		if out, err := buildWith(t, path, other); err == nil || !strings.Contains(out, "undefined: protocol."+name) {
			t.Errorf("without %s: %v\n%s", name, err, out)
		}
	}
}

// TestMissingMethod checks that a handler without one of the methods does not compile.
// The compiler's error names the method.
func TestMissingMethod(t *testing.T) {
	const handler = `package multi

type half struct{ UserServiceHandler }

var _ = ServeMulti(half{})
`
	if out, err := buildWith(t, filepath.Join("multi", "half.go"), handler); err == nil || !strings.Contains(out, "missing method Store") {
		t.Errorf("%v\n%s", err, out)
	}
}
