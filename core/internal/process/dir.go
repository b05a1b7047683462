package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir is a directory that only this user can enter, locked for as long as this
// process lives and removed with all it holds by Close.
type Dir struct {
	path string
	lock *os.File
}

// dirPrefix marks the directories that NewDir makes. The rest of the name is
// random; the whole stays short, because a socket's path is limited to about a
// hundred bytes.
const dirPrefix = "plugwire-run-"

// dirAttempts bounds how often a new directory can be swept away by another
// host in the instant before it is locked.
const dirAttempts = 10

// ErrDir is in every error of [NewDir]: what the system says is of that directory,
// and not of the program.
var ErrDir = errors.New("private directory")

// NewDir makes a private directory. It belongs to uid if that is not -1, for a
// plugin that runs as another user.
func NewDir(uid int) (*Dir, error) {
	base := dirBase(uid)
	for range dirAttempts {
		path, err := os.MkdirTemp(base, dirPrefix)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDir, err)
		}
		lock, err := lockDir(path)
		if err == nil {
			d := &Dir{path: path, lock: lock}
			if uid >= 0 {
				err = os.Chown(path, uid, -1)
			}
			if err != nil {
				d.Close()
				return nil, fmt.Errorf("%w: %w", ErrDir, err)
			}
			return d, nil
		}
		_ = os.Remove(path) // a sweep got there first
	}
	return nil, fmt.Errorf("%w in %s: removed by another process %d times", ErrDir, base, dirAttempts)
}

// Path returns the directory's absolute path.
func (d *Dir) Path() string { return d.path }

// Close removes the directory and what is in it. It is idempotent.
func (d *Dir) Close() {
	// Best effort: what stays is swept by the next host.
	_ = os.RemoveAll(d.path)
	_ = d.lock.Close()
}

// dirBase is where private directories are made: the user's runtime directory,
// which is short, in memory and cleared at log-out, or else the directory for
// temporary files. A plugin of another user cannot enter the former.
func dirBase(uid int) string {
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if runtime != "" && uid < 0 && filepath.IsAbs(runtime) {
		if info, err := os.Stat(runtime); err == nil && info.IsDir() && ownedPrivately(info) { //nolint:gosec // the user's own environment
			return runtime
		}
	}
	return os.TempDir()
}

// maxSweep bounds how many names one sweep looks at, so that a crowded
// directory for temporary files does not slow a start down.
const maxSweep = 4096

// Sweep removes the directories beside d whose host was killed: those of this
// user that nobody holds the lock of. Whatever goes wrong with one is left to a
// later sweep.
func (d *Dir) Sweep() {
	base := filepath.Dir(d.path)
	f, err := os.Open(base) //nolint:gosec // see dirBase
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // opened for reading
	entries, _ := f.ReadDir(maxSweep)
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), dirPrefix) {
			continue
		}
		path := filepath.Join(base, e.Name())
		lock, err := lockDir(path)
		if err != nil {
			continue
		}
		if info, err := lock.Stat(); err == nil && ownedPrivately(info) {
			removeOurs(lock)
			_ = os.Remove(path) // fails if there is anything else in it
		}
		_ = lock.Close()
	}
}
