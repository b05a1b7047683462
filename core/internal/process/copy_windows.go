package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// newCopyPath returns the path for a copy, in a new directory among the user's own temporary
// files, which other users cannot enter. The name keeps its extension, because Windows
// recognizes a program by it. remove removes the copy and its directory, and nothing else:
// the program may have put any number of files there.
func newCopyPath(name string, _ *privdir.User) (path string, remove func() error, err error) {
	dir, err := os.MkdirTemp("", "plugwire-run-")
	if err != nil {
		return "", nil, fmt.Errorf("directory for a copy of the program: %w", err)
	}
	path = filepath.Join(dir, "program"+filepath.Ext(name))
	return path, func() error { return errors.Join(removeFile(path), removeFile(dir)) }, nil
}

func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// shareCopy does nothing: files have no modes on Windows.
func shareCopy(*os.File, *privdir.User) error { return nil }

// checkExecutable does nothing: every file that can be read can be executed.
func checkExecutable(string) error { return nil }

// OpenProgram opens a file for reading.
func OpenProgram(path string) (*os.File, error) { return os.Open(path) } //nolint:gosec // it is the program that the user names
