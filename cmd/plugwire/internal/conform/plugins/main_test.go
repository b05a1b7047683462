//go:build unix

package plugins

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// program is the plugin with defects; set by TestMain.
var program string

func TestMain(m *testing.M) {
	if code, ran := conform.RunRole(os.Args[1:], Suite()); ran {
		os.Exit(code)
	}
	scratch, err := os.MkdirTemp("", "pw-") // short, because the path of a socket is limited
	if err == nil {
		err = prepare(scratch)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(scratch); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// prepare builds the program, without the race detector: it is started a few thousand times.
func prepare(scratch string) error {
	program = filepath.Join(scratch, "defective")
	cmd := exec.Command("go", "build", "-o", program, "./defective")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the other targets build, to share the build cache
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	// Another user must be able to reach a socket.
	// A run spends most of its time waiting.
	return errors.Join(flag.Set("test.parallel", "8"), os.Chmod(scratch, 0o711), os.Setenv("TMPDIR", scratch))
}
