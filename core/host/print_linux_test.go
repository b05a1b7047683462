package host

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// TestErrorsAreSafeToPrint checks errors with names and contents of files that the host
// did not choose.
func TestErrorsAreSafeToPrint(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2J\u202e\n2026/11/30 host: forged"
	dir := filepath.Join(t.TempDir(), evil)
	script := filepath.Join(dir, "script")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(script, []byte("#!/none/\x1b[2J\u202e\r\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	cause := &fs.PathError{Op: "fork/exec", Path: script, Err: syscall.ENOENT}
	for _, err := range []error{
		&StartError{Phase: PhaseStart, Name: "script", Command: describe(exec.Command(script, "a\nb", evil)), Err: cause, Hint: diagnose(cause, program{path: script})},
		&ExitError{Name: "script", Command: describe(exec.Command(script)), Panic: "a\n2026/11/30 host: forged", Err: cause},
		&StartError{Phase: PhasePrepare, Name: "x", Command: "c", Err: errors.Join(errors.New("one"), errors.New("two")), Elapsed: time.Second},
	} {
		for line := range strings.Lines(err.Error()) {
			line = strings.TrimSuffix(line, "\n")
			if logs.OneLine(line) != line || strings.HasPrefix(line, "2026") {
				t.Errorf("a line of the error is %q", line)
			}
		}
	}
}
