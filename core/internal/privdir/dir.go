// Package privdir makes private directories: for the socket of a plugin, and for
// files that its host keeps for it. A start makes one with [New]. The package
// also tells whether another user can change a path ([TempDir]), and removes the
// other side's files within a bounded time.
package privdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrDir is in every error of [New]: it tells that an error of the system is
// about the private directory and not about the program.
var ErrDir = errors.New("private directory")

// User is the user that a plugin runs as, if that is not the host's own user.
type User struct {
	UID, GID int
	// Shared lets all members of the group GID write in the plugin's directory.
	Shared bool
}

// ProgramFile is the name of a program's copy in a private directory. A sweep
// recognizes the copy by this name.
const ProgramFile = "plugwire-program"

// prefix begins the name of each directory that New makes. The rest of the name
// is random. The whole name is short, because the path of a socket is limited
// to about a hundred bytes.
const prefix = "plugwire-run-"

// removeTimeout bounds how long Close removes what a plugin left. Removing the
// usual socket takes microseconds. But a plugin can leave any number of files:
// 300,000 took six seconds, during which the plugin seemed to be still running.
const removeTimeout = time.Second

// TempDir returns the absolute path of the directory for temporary files (TMPDIR).
// It is an error if another user, except root, can rename or replace a part of
// that path: that user could replace everything that is made there.
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
