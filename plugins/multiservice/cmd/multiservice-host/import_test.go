package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// importing starts a host that waits for the next line of its standard input. The
// database has no users.
func importing(t *testing.T) *clitest.Host {
	t.Helper()
	return clitest.Start(t, "multiservice-host", "-dir", filepath.Join(t.TempDir(), "db"), "import", "-as", "ann", "-")
}

func TestSignalWhileALineIsAwaited(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send to a process")
	}
	h := importing(t)
	h.Signal(t, os.Interrupt)
	want := hostcli.Failure{Type: "error", Message: "interrupt signal received"}
	if diff := cmp.Diff(want, h.WantFailure(t)); diff != "" {
		t.Errorf("last object (-want +got):\n%s", diff)
	}
}

func TestPluginDiesWhileALineIsAwaited(t *testing.T) { importing(t).KillPlugin(t) }

// A line that the plugin refuses ends the import without the next one.
func TestLineFailsWhileALineIsAwaited(t *testing.T) {
	h := importing(t)
	h.Write(t, "key\tvalue\n")
	want := hostcli.Failure{Type: "error", Message: "the caller ann is not a user", Line: 1, Code: "PermissionDenied"}
	if diff := cmp.Diff(want, h.WantFailure(t)); diff != "" {
		t.Errorf("last object (-want +got):\n%s", diff)
	}
}

// A line that is too long to be stored is not read to its end.
func TestImportOfALongLine(t *testing.T) {
	input := strings.NewReader("key\t" + strings.Repeat("x", maxLine))
	n, err := importLines(t.Context(), nil, "ann", input)
	if want := "line 1: the line is longer than 2097152 bytes"; err == nil || err.Error() != want || n != 0 {
		t.Errorf("%d lines, error %v, want %s", n, err, want)
	}
}
