package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// Writers returns the names of the processes that have the file at path open for writing, as
// far as this process may see: "process 12 (cp)", or "this process".
func Writers(path string) (names []string) {
	file, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	for pid := range processes() {
		if !isBeingStarted(pid) && hasOpen(pid, func(dir, fd, target string) bool {
			// Stat only a file with the right name: another file may be on a file system
			// that does not answer.
			if filepath.Base(target) != filepath.Base(path) || !isWritable(dir+"fdinfo/"+fd) {
				return false
			}
			other, err := os.Stat(dir + "fd/" + fd)
			return err == nil && os.SameFile(file, other)
		}) {
			names = append(names, describeProcess(pid))
		}
	}
	return names
}

// processes yields the number of each process.
func processes() func(yield func(pid int) bool) {
	return func(yield func(pid int) bool) {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return // /proc is not mounted
		}
		for _, entry := range entries {
			if pid, err := strconv.Atoi(entry.Name()); err == nil && !yield(pid) {
				return
			}
		}
	}
}

// hasOpen reports whether match returns true for a descriptor of the process. The arguments
// of match are the directory of the process, the number of the descriptor, and the name of
// the open file.
func hasOpen(pid int, match func(dir, fd, target string) bool) bool {
	dir := fmt.Sprintf("/proc/%d/", pid)
	d, err := os.Open(dir + "fd") //nolint:gosec // in /proc
	if err != nil {
		return false // the process has ended, or is another user's
	}
	defer d.Close() //nolint:errcheck // opened for reading
	names, _ := d.Readdirnames(-1)
	for _, fd := range names {
		if target, err := os.Readlink(dir + "fd/" + fd); err == nil && match(dir, fd, target) {
			return true
		}
	}
	return false
}

// isWritable reports whether a descriptor is open for writing, by its file in fdinfo
// (proc_pid_fdinfo(5)).
func isWritable(fdinfo string) bool {
	text, err := os.ReadFile(fdinfo) //nolint:gosec // in /proc
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(value), 8, 32)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}

// isBeingStarted reports whether this process is just starting the given one. Until such a
// process executes its program, it has the memory and all open files of this one.
func isBeingStarted(pid int) bool {
	if pid == os.Getpid() {
		return false
	}
	ours, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return false
	}
	theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	return err == nil && bytes.Equal(ours, theirs)
}

// describeProcess describes a process for people. A process can give itself any name, so an
// unprintable name is quoted.
func describeProcess(pid int) string {
	if pid == os.Getpid() {
		return "this process"
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // the process may have ended
	return fmt.Sprintf("process %d (%s)", pid, logs.OneLine(strings.TrimSuffix(string(name), "\n")))
}
