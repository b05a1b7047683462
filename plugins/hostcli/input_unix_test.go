//go:build unix

package hostcli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The system has who opens a named pipe wait for one that writes to it.
func TestInputOpenOfANamedPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := Open(ctx, name)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
	// The goroutine that is left opens the pipe for this, finds that nobody wants
	// the byte, and ends.
	w, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	writers = append(writers, w)
	if _, err := w.WriteString("x"); err != nil {
		t.Error(err)
	}
}

// writers stay open until all tests have ended: nothing tells when the goroutine
// has opened the pipe.
var writers []*os.File
