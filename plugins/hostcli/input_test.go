package hostcli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// mustOpen opens an input, and closes it when the test ends.
func mustOpen(t *testing.T, ctx context.Context, name string) *Input { //nolint:revive // as in testing, t comes first
	t.Helper()
	in, err := Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

func TestInputFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := mustOpen(t, t.Context(), name)
	content, err := io.ReadAll(in)
	if string(content) != "hello" || err != nil || in.Size() != 5 {
		t.Errorf("read %q, error %v, size %d", content, err, in.Size())
	}
}

func TestInputErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want ErrNotExist", err)
	}
	if _, err := io.ReadAll(mustOpen(t, t.Context(), dir)); err == nil {
		t.Error("a directory was read")
	}
}

// setStdin replaces the standard input of the test by a pipe, and returns its
// writing end.
func setStdin(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = r
	t.Cleanup(func() {
		os.Stdin = before
		_ = w.Close() // ends a read that is under way
		_ = r.Close()
	})
	return w
}

func TestInputStandard(t *testing.T) {
	stdin := setStdin(t)
	in := mustOpen(t, t.Context(), "-")
	if in.Size() != -1 {
		t.Errorf("size %d, want -1", in.Size())
	}
	if _, err := stdin.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(in); string(content) != "hello" || err != nil {
		t.Errorf("read %q, error %v", content, err)
	}
}

// There is no data and no end, until the user gives up.
func TestInputThatNobodyWrites(t *testing.T) {
	setStdin(t)
	ctx, cancel := context.WithCancel(t.Context())
	in := mustOpen(t, ctx, "-")
	ended := make(chan error, 1)
	go func() {
		_, err := in.Read(make([]byte, 1))
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}
