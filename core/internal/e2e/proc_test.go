//go:build linux

package e2e_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lifePlugin returns the command of a plugin that ends in the given way; see
// life-plugin.
func lifePlugin(tb testing.TB, ending ...string) *exec.Cmd {
	tb.Helper()
	return command("life-plugin", ending...)
}

// foreign returns the command of a plugin that treats its host as one on
// go-plugin, and so has no lifeline.
func foreign(cmd *exec.Cmd) *exec.Cmd {
	script := `unset PLUGWIRE_OFFER; exec "$0" "$@"`
	return exec.Command("/bin/sh", append([]string{"-c", script}, cmd.Args...)...)
}

// interval is the time between two checks of a condition.
const interval = 5 * time.Millisecond

// eventually waits until check returns no complaint.
func eventually(tb testing.TB, within time.Duration, check func() (complaint string)) {
	tb.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(interval) {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %v: %s", within, complaint)
		}
	}
}

// place is a test's own directory for temporary files, with a mark by which the
// test finds every process that was started there.
type place struct {
	dir  string
	mark string
}

// markVariable holds the mark.
const markVariable = "LIFE_MARK"

// newPlace makes a place. When the test ends, only empty directories may be
// left there.
func newPlace(tb testing.TB) *place {
	tb.Helper()
	dir, err := os.MkdirTemp("", "l-") //nolint:usetesting // that one is too long for a socket's path
	if err != nil {
		tb.Fatal(err)
	}
	p := &place{dir: dir, mark: rand.Text()}
	tb.Cleanup(func() {
		// A host that still ran was killed a moment ago; its plugins follow it.
		for deadline := time.Now().Add(hang); len(p.processes()) > 0 && time.Now().Before(deadline); {
			time.Sleep(interval)
		}
		for _, pid := range p.processes() {
			tb.Errorf("process %s is left", describeProcess(pid))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// env returns the environment for a process that belongs to the place.
func (p *place) env() []string {
	return append(os.Environ(), markVariable+"="+p.mark, "TMPDIR="+p.dir, "XDG_RUNTIME_DIR=")
}

// processes returns the processes of the place that have not ended.
func (p *place) processes() []int {
	var found []int
	variable := []byte(markVariable + "=" + p.mark + "\x00")
	for _, pid := range allProcesses() {
		// The environment of a process that has ended, reaped or not, is empty.
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if bytes.Contains(environ, variable) {
			found = append(found, pid)
		}
	}
	return found
}

// files returns everything here that is not a directory.
func (p *place) files() []string {
	var found []string
	_ = filepath.WalkDir(p.dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path)
		}
		return nil // files may disappear meanwhile
	})
	return found
}

// left describes what is still here, or returns nothing if only directories are
// left.
func (p *place) left() string {
	return strings.TrimSpace(p.leftRunning() + " " + strings.Join(p.files(), " "))
}

// leftRunning describes which processes are still running.
func (p *place) leftRunning() string {
	var left []string
	for _, pid := range p.processes() {
		left = append(left, describeProcess(pid))
	}
	return strings.Join(left, ", ")
}

func allProcesses() []int {
	var all []int
	entries, _ := os.ReadDir("/proc") // always there on Linux
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// children returns the processes whose parent is this one, zombies included.
func children() []int {
	var found []int
	for _, pid := range allProcesses() {
		if _, parent, ok := processState(pid); ok && parent == os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

// stopProcess sends SIGSTOP and waits until all threads have stopped: a running
// thread continues until the signal reaches it.
func stopProcess(tb testing.TB, pid int) {
	tb.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		tb.Fatal(err)
	}
	eventually(tb, settleTime, func() string {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(threads) == 0 {
			return "it has no threads: " + describeProcess(pid)
		}
		for _, thread := range threads {
			if state, _, ok := readState(thread + "/stat"); ok && state != "T" {
				return "a thread is not stopped: " + describeProcess(pid)
			}
		}
		return ""
	})
}

// processState returns the state's letter and the parent.
func processState(pid int) (state string, parent int, ok bool) {
	return readState(fmt.Sprintf("/proc/%d/stat", pid))
}

// readState reads them from a file as proc(5) describes it.
func readState(path string) (state string, parent int, ok bool) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return "", 0, false
	}
	// The name, in parentheses, may have any characters.
	_, err = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent)
	return state, parent, err == nil
}

// isRunning reports whether a process is there and has not ended.
func isRunning(pid int) bool {
	state, _, ok := processState(pid)
	return ok && state != "Z" && state != "X"
}

func describeProcess(pid int) string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // may have ended
	state, parent, _ := processState(pid)
	return fmt.Sprintf("%d (%s) in state %q with parent %d", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}), state, parent)
}

// descriptors returns what the descriptors of a process are open on, by number.
func descriptors(pid int) (map[int]string, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	open := make(map[int]string, len(entries))
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, err
		}
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the descriptor of this directory itself, if it is this process's
		}
		if err != nil {
			return nil, err
		}
		open[fd] = target
	}
	return open, nil
}
