// Package privdir makes private directories: for the socket of a plugin, and for
// what its host keeps for it. A start makes one with [New]. It also says whether
// another user can change a path ([TempDir]), and removes what the other side
// made in a bounded time.
package privdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrDir is in every error of [New]: what the system says is about the private
// directory, and not about the program.
var ErrDir = errors.New("private directory")

// User is a user as whom a plugin runs, where that is not the host's own.
type User struct{ UID, GID int }

// ProgramFile is the name of a program's copy in a private directory, by which a
// sweep knows it.
const ProgramFile = "plugwire-program"

// prefix begins the name of each directory that New makes. The rest of the name
// is random. The whole stays short, because the path of a socket is limited to
// about a hundred bytes.
const prefix = "plugwire-run-"

// removeTimeout bounds how long Close removes what a plugin left. Removing the
// usual socket takes microseconds. A plugin can leave any number of files: 300,000
// of them took six seconds, in which the plugin seemed to run on.
const removeTimeout = time.Second

// TempDir returns the absolute path of the directory for temporary files (TMPDIR).
// It is an error if another user, who is not root, can rename or replace a part of
// that path: whatever is made there would be in that user's hands.
func TempDir() (string, error) {
	dir, _, err := tempDir()
	return dir, err
}

// tempDir also returns the directory of the path, if any, that only its owner can
// enter.
func tempDir() (dir, closed string, err error) {
	dir = os.TempDir()
	abs, err := filepath.Abs(dir)
	if err == nil {
		closed, err = inspect(abs)
	}
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", describeTemp(dir), err)
	}
	return abs, closed, nil
}
