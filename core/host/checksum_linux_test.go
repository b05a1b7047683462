package host

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestChecksumOfTheCopy writes to the copy while it is made, as each process of the
// same user can: the sum is that of what would run.
func TestChecksumOfTheCopy(t *testing.T) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err != nil {
		t.Skipf("this system has no files in memory that can be executed: %v", err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	data := bytes.Repeat([]byte("good"), 8<<20)
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	attacked := false
	ctx := &between{t.Context(), func() { attacked = attacked || writeToCopy() }}
	verified, err := (&checksum{crypto.SHA256, sum[:]}).copy(ctx, path, nil)
	_ = verified.Close() // is in memory
	if !attacked {
		t.Fatal("the copy was not found in memory")
	}
	if !errors.Is(err, ErrChecksum) {
		t.Errorf("what was changed has the sum: %v", err)
	}
}

// between is a context that does something whenever it is looked at, which is
// between any two pieces that are copied.
type between struct {
	context.Context //nolint:containedctx // it is one
	do              func()
}

// Err implements [context.Context].
func (b *between) Err() error {
	b.do()
	return b.Context.Err()
}

// writeToCopy writes over the beginning of a copy in memory, if there is one that has
// a beginning.
func writeToCopy() bool {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd := filepath.Join("/proc/self/fd", e.Name())
		if name, _ := os.Readlink(fd); !strings.HasPrefix(name, "/memfd:plugwire") {
			continue
		}
		f, err := os.OpenFile(fd, os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		written := false
		if info, err := f.Stat(); err == nil && info.Size() > copyPiece {
			_, err = f.WriteAt([]byte("evil"), 0)
			written = err == nil
		}
		_ = f.Close()
		if written {
			return true
		}
	}
	return false
}
