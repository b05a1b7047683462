//go:build unix

package privdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// commonName is the name of the directory that all hosts of a user share. In the
// directory for temporary files, which users share, the number of the user follows.
const commonName = "plugwire"

// Common returns the directory that all hosts of this user share, and that no other
// user can enter. It makes the directory if it is missing: in the user's runtime
// directory (XDG_RUNTIME_DIR), or else in the directory for temporary files (TMPDIR).
// Common leaves the directory in place.
func Common() (string, error) {
	base, source, err := findBase(nil)
	if err != nil {
		return "", err
	}
	name := commonName
	if base != os.Getenv("XDG_RUNTIME_DIR") {
		name = fmt.Sprintf("%s-%d", commonName, os.Geteuid())
	}
	path := filepath.Join(base, name)
	if err := os.Mkdir(path, pluginMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s: %w", source, err)
	}
	if info, err := os.Lstat(path); err != nil {
		return "", err
	} else if !info.IsDir() || !isOwn(path) {
		return "", fmt.Errorf("%s is not a directory that only user %d can enter: remove it", path, os.Geteuid())
	}
	return path, nil
}
