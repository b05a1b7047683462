package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/plugwire/plugwire/plugins/streaming/internal/filelock"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	first, second := open(t, path), open(t, path)
	if err := filelock.Lock(first); err != nil {
		t.Fatal(err)
	}
	if err := filelock.Lock(second); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("error %v for the second, want ErrLocked", err)
	}
	if _, err := second.WriteString("data"); err != nil {
		t.Errorf("the lock keeps others from writing: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := filelock.Lock(second); err != nil {
		t.Errorf("error %v after the first was closed", err)
	}
}

func TestLockClosed(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "file"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := filelock.Lock(f); err == nil {
		t.Error("a closed file was locked")
	}
}
