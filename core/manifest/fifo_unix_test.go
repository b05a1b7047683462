//go:build unix

package manifest

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A path that is not a file must not block the host: opening a FIFO waits for its writer.
func TestPathIsAFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
		t.Errorf("Load: %v", err)
	}
	m := &Manifest{Plugins: []Plugin{{Name: "a", Command: path}}}
	if err := m.Lock(filepath.Join(t.TempDir(), "lock")); err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
		t.Errorf("Lock: %v", err)
	}
}
