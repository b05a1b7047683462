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

// TestScripts uses plugwire-gen as testdata/script says, and compiles and runs
// what it makes.
func TestScripts(t *testing.T) {
	clone, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	// The scripts have a home of their own, but the go command's caches are the
	// user's, so that they need no network and little time.
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
			e.Setenv("FULL", values[1]) // GOMODCACHE, for a script that has an empty one
			return nil
		},
	})
}
