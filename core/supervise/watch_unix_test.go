//go:build unix

package supervise

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A change of a source runs the build command, and what it builds is swapped in. A build
// that fails leaves the old plugin, and says why.
func TestWatchBuild(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "source")
	write(t, source, "exit 0")
	build := exec.Command("/bin/sh", "-c", `. "$SOURCE" && cp "$SOURCE" "$PROGRAM.new" && mv "$PROGRAM.new" "$PROGRAM"`)
	program := filepath.Join(t.TempDir(), "program")
	build.Env = append(os.Environ(), "SOURCE="+source, "PROGRAM="+program)
	w := watchFakeAt(t, program, WithBuild(build, filepath.Dir(source)))

	write(t, source, "true # second")
	if e := w.await(t, KindChanged); e.Path != source {
		t.Errorf("changed %q, want %q", e.Path, source)
	}
	for _, kind := range []Kind{KindBuilding, KindBuilt, KindChanged, KindSwapped} {
		w.await(t, kind)
	}
	launched := w.count()

	write(t, source, "echo main.go:3: what is this; exit 7")
	w.await(t, KindBuilding)
	var e Event
	select {
	case e = <-w.events:
		for e.Kind == KindRetired {
			e = <-w.events
		}
	case <-time.After(watchHang):
		t.Fatal("the build does not end")
	}
	failed, ok := errors.AsType[*BuildError](e.Err)
	if e.Kind != KindBuildFailed || !ok || failed.Output != "main.go:3: what is this" || !strings.HasSuffix(e.Err.Error(), ": exit status 7\nmain.go:3: what is this") {
		t.Errorf("%+v", e)
	}
	if n, err := call(t.Context(), w.Handle); err != nil || n != launched || w.count() != launched {
		t.Errorf("plugin %d of %d, %v", n, w.count(), err)
	}

	write(t, source, "true # third")
	w.await(t, KindSwapped)
}

// Close ends a build with the processes that it has started.
func TestWatchCloseEndsABuild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, child := filepath.Join(dir, "source"), filepath.Join(t.TempDir(), "child")
	write(t, source, "")
	build := exec.Command("/bin/sh", "-c", `sleep 1000 & echo $! > "`+child+`.new"; mv "`+child+`.new" "`+child+`"; wait`)
	w := watchFake(t, WithBuild(build, dir))
	write(t, source, "changed")
	w.await(t, KindBuilding)
	var pid int
	for deadline := time.Now().Add(watchHang); pid == 0; {
		text, err := os.ReadFile(child)
		if err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
				t.Fatal(err)
			}
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := w.Watcher.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(watchHang); syscall.Kill(pid, 0) == nil && !isZombie(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d of the build lives", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

// isZombie reports whether a process has ended, and waits for a parent to fetch its status.
func isZombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, after, ok := strings.Cut(string(text), ") ")
	return err == nil && ok && strings.HasPrefix(after, "Z")
}
