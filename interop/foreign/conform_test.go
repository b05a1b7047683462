//go:build unix

package foreign_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// command builds the command plugwire, once.
var command = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), "command")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/plugwire")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the other targets build, to share the build cache
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return path, nil
})

// TestConform runs plugwire conform on each plugin, which claims the smallest profile.
func TestConform(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.require(t)
			path, err := command()
			if err != nil {
				t.Fatalf("%v\n%s", err, path)
			}
			args := append([]string{"conform", "plugin", "-profile", "minimal", "-prints", "interop.v1.Interop/Print", "--"}, s.plugin().Args...)
			out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
