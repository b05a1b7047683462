package host

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestChecksumOfTheCopy has somebody write to the copy while it is made, as each
// process of the same user can: the sum is of what would run.
func TestChecksumOfTheCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	data := bytes.Repeat([]byte("good"), 8<<20)
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	stop, wrote := make(chan struct{}), make(chan bool, 1)
	go func() {
		for {
			select {
			case <-stop:
				wrote <- false
				return
			default:
			}
			if writeToCopy() {
				wrote <- true
				return
			}
		}
	}()
	verified, err := (&checksum{crypto.SHA256, sum[:]}).copy(t.Context(), path, -1)
	close(stop)
	verified.Close()
	switch changed := <-wrote; {
	case changed && !errors.Is(err, ErrChecksum):
		t.Errorf("what was changed has the sum: %v", err)
	case !changed && err != nil:
		t.Error(err)
	case !changed:
		t.Skip("the copy was made before anybody could write to it, or is not in memory")
	}
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
