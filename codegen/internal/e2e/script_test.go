package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plugwire/plugwire/codegen/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"plugwire-gen": func() { os.Exit(cli.Main()) }})
}

// TestScripts runs the scripts in testdata/script. They compile and run the code that
// plugwire-gen writes.
func TestScripts(t *testing.T) {
	clone, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	// Each script has an empty home. It uses the caches of the user's go command, so
	// that it needs no network and little time.
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GONOSUMDB", "GOFLAGS"}
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Split(string(out), "\n")
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			for i, name := range names {
				e.Setenv(name, values[i])
			}
			e.Setenv("CGO_ENABLED", "0")
			e.Setenv("CLONE", clone)
			e.Setenv("FULL", values[1]) // GOMODCACHE, for a script that uses an empty one first
			return nil
		},
	})
}
