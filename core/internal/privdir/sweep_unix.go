//go:build unix

package privdir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxSweep bounds how many names one sweep checks, and sweepTimeout how long it
// takes, so that a crowded directory for temporary files costs little.
const (
	maxSweep     = 4096
	sweepTimeout = time.Second
)

// Look finds the directories beside d that a Sweep looks at. A directory that another
// process makes later is not among them.
func (d *Dir) Look() { d.found = look(filepath.Dir(d.own)) }

func look(base string) []string {
	f, err := os.Open(base) //nolint:gosec // findBase chose it
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // opened for reading
	names, _ := f.Readdirnames(maxSweep)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

// Sweep removes those directories that Look found and whose hosts were killed:
// directories of this user that no process has locked. It works in the background, and
// Close waits for it. A directory that cannot be removed is left to a later sweep.
func (d *Dir) Sweep() {
	d.sweeping.Go(func() { sweep(filepath.Dir(d.own), d.found, time.Now().Add(sweepTimeout)) })
}

func sweep(base string, names []string, deadline time.Time) {
	for _, name := range names {
		if time.Now().After(deadline) {
			return
		}
		var stat unix.Stat_t
		if path := filepath.Join(base, name); unix.Lstat(path, &stat) == nil && isSweepable(&stat) {
			sweepOne(path, deadline)
		}
	}
}

// sweepOne removes a directory of this user, which no other user can replace.
func sweepOne(path string, deadline time.Time) {
	lock, err := lockDir(path)
	if err != nil {
		return
	}
	defer lock.Close() //nolint:errcheck // opened for reading
	var stat unix.Stat_t
	if err := unix.Fstat(int(lock.Fd()), &stat); err != nil || !isSweepable(&stat) {
		return
	}
	if stat.Mode&unix.S_ISVTX != 0 {
		_ = empty(lock, deadline)
	} else {
		removeOurs(lock)
	}
	_ = os.Remove(path) // fails if a file is left in it
}

// isSweepable reports whether a file is a directory of this user that only the owner
// can read or change. Files of other users cost only this check.
func isSweepable(stat *unix.Stat_t) bool {
	return int(stat.Uid) == os.Geteuid() && stat.Mode&unix.S_IFMT == unix.S_IFDIR && stat.Mode&0o067 == 0
}

// removeOurs removes only the sockets and the copy of a program in an open
// directory: a user who gave another directory the same name keeps its other files.
func removeOurs(dir *os.File) {
	entries, _ := dir.ReadDir(maxSweep)
	for _, e := range entries {
		if e.Type() == os.ModeSocket || e.Name() == ProgramFile && e.Type().IsRegular() {
			_ = unix.Unlinkat(int(dir.Fd()), e.Name(), 0)
		}
	}
}
