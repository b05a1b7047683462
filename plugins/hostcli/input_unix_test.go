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

// To open a named pipe for reading blocks until there is a writer.
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
	// The goroutine that is left opens the pipe, finds that its byte is not
	// wanted, and ends.
	w, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	writers = append(writers, w)
	if _, err := w.WriteString("x"); err != nil {
		t.Error(err)
	}
}

// writers stay open until all tests have ended, because the test cannot know
// when the goroutine has opened the pipe.
var writers []*os.File
