package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watchHang is the time after which a test of a watcher gives up.
const watchHang = time.Minute

// watchedHandle is a watched handle on plugins of a factory.
type watchedHandle struct {
	*factory
	*Handle
	*Watcher
	program string
	events  chan Event
}

// watchFake watches a program in a directory of the test's own. The plugins are not
// processes, so the program may be any file.
func watchFake(t *testing.T, opts ...WatchOption) *watchedHandle {
	t.Helper()
	return watchFakeAt(t, filepath.Join(t.TempDir(), "program"), opts...)
}

func watchFakeAt(t *testing.T, program string, opts ...WatchOption) *watchedHandle {
	t.Helper()
	w := &watchedHandle{factory: new(factory), program: program, events: make(chan Event, 100)}
	write(t, w.program, "first")
	w.Handle = startFake(t, w.factory, WithListener(func(e Event) { w.events <- e }))
	t.Cleanup(func() { closeHandle(t, w.Handle) })
	watcher, err := Watch(w.Handle, w.program, opts...)
	if err != nil {
		t.Fatal(err)
	}
	w.Watcher = watcher
	t.Cleanup(func() {
		if err := watcher.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// await returns the next event of a kind. A failure before it fails the test.
func (w *watchedHandle) await(t *testing.T, kind Kind) Event {
	t.Helper()
	timeout := time.After(watchHang)
	for {
		select {
		case e := <-w.events:
			if e.Kind == kind {
				return e
			}
			if e.Kind == KindRefused || e.Kind == KindBuildFailed {
				t.Fatalf("%s: %v; want %s", e.Kind, e.Err, kind)
			}
		case <-timeout:
			t.Fatalf("there was no event %q", kind)
		}
	}
}

// write replaces a file, so that no watcher sees a part of the text.
func write(t *testing.T, path, text string) {
	t.Helper()
	hidden := filepath.Join(filepath.Dir(path), ".write")
	if err := errors.Join(os.WriteFile(hidden, []byte(text), 0o600), os.Rename(hidden, path)); err != nil {
		t.Error(err)
	}
}

// A program that was written, replaced or put back is swapped in.
func TestWatchProgram(t *testing.T) {
	t.Parallel()
	w := watchFake(t)
	for name, change := range map[string]func(){
		"written in place": func() {
			if err := os.WriteFile(w.program, []byte("a longer text"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"replaced by a file of the same size and time": func() {
			info, err := os.Stat(w.program)
			if err != nil {
				t.Fatal(err)
			}
			next := w.program + ".next"
			write(t, next, strings.Repeat("x", int(info.Size())))
			if err := errors.Join(os.Chtimes(next, info.ModTime(), info.ModTime()), os.Rename(next, w.program)); err != nil {
				t.Fatal(err)
			}
		},
		"removed and put back": func() {
			if err := os.Remove(w.program); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * watchInterval) // may or may not be seen as gone
			write(t, w.program, "back")
		},
	} {
		old := w.last()
		change()
		if e := w.await(t, KindChanged); e.Path != w.program {
			t.Errorf("%s: changed %q", name, e.Path)
		}
		w.await(t, KindSwapped)
		if w.last() == old {
			t.Errorf("%s: the plugin is the old one", name)
		}
		<-old.Done()
	}
}

// A program that does not start leaves the old plugin, and is tried once. The next change
// is swapped in.
func TestWatchBrokenProgram(t *testing.T) {
	t.Parallel()
	w := watchFake(t)
	old := w.last()
	w.set(failing(errBroken))
	write(t, w.program, "broken")
	if e := w.await(t, KindRefused); !errors.Is(e.Err, errBroken) || e.Path != w.program {
		t.Errorf("%+v", e)
	}
	if n, err := call(t.Context(), w.Handle); n != 1 || err != nil || w.last() != old {
		t.Errorf("plugin %d, %v", n, err)
	}
	launched := w.count()
	w.set(nil)
	write(t, w.program, "repaired")
	w.await(t, KindSwapped)
	if n := w.count(); n != launched+1 {
		t.Errorf("%d launches after the refusal, want 1", n-launched)
	}
}

// A program that is written again while it starts is not refused: it is started again.
func TestWatchHalfWrittenProgram(t *testing.T) {
	t.Parallel()
	w := watchFake(t)
	launches := 0
	w.set(func(context.Context, *fakePlugin) error {
		if launches++; launches > 1 {
			return nil
		}
		write(t, w.program, "the second half")
		return errBroken
	})
	write(t, w.program, "half")
	w.await(t, KindSwapped) // and no KindRefused before
}

// Writes that follow each other closely are one change.
func TestSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		const writes = 20
		look := func() int { return min(int(time.Since(began)/(settleTime/2)), writes) }
		same := func(a, b int) bool { return a == b }
		if got := settle(t.Context(), look, same); got != writes {
			t.Errorf("settled after %d writes, want %d", got, writes)
		}
		began = time.Now()
		settle(t.Context(), func() time.Duration { return time.Since(began) }, func(a, b time.Duration) bool { return a == b })
		if took := time.Since(began); took < settlePatience || took > settlePatience+watchInterval {
			t.Errorf("a file that is written all the time took %v, want %v", took, settlePatience)
		}
	})
}

// A generated file among the sources that has the same content again is no change.
func TestGeneratedSource(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &Watcher{sources: []string{dir}, program: filepath.Join(dir, "program")}
	path := func(name string) string { return filepath.Join(dir, name) }
	look := func() *tree {
		t.Helper()
		found, err := w.look()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	at := time.Now()
	touch := func(name, text string) { // as a later write
		t.Helper()
		at = at.Add(time.Second)
		write(t, path(name), text)
		if err := os.Chtimes(path(name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	touch("main.go", "1")
	built := look()
	for i, step := range []struct {
		file, text string
		change     bool
	}{
		{"generated.go", "x", true},
		{"generated.go", "x", false},
		{"generated.go", "y", true},
		{"generated.go", "x", true},
		{"main.go", "2", true},
		{"program", "binary", false},
		{".main.go.swp", "hidden", false},
		{"main.go~", "backup", false},
	} {
		touch(step.file, step.text)
		want := ""
		if step.change {
			want = path(step.file)
		}
		now := look()
		if got := built.changed(now); got != want {
			t.Errorf("step %d: %q has changed, want %q", i, got, want)
		}
		if step.change {
			built = built.next(now)
		}
	}
	if err := os.Remove(path("main.go")); err != nil {
		t.Fatal(err)
	}
	if got := built.changed(look()); got != path("main.go") {
		t.Errorf("after a removal %q has changed", got)
	}
}

// The end of the handle ends its watcher.
func TestWatchEndsWithItsHandle(t *testing.T) {
	t.Parallel()
	w := watchFake(t)
	if err := w.Handle.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.Watcher.done:
	case <-time.After(watchHang):
		t.Error("the watcher goes on")
	}
}

func TestWatchErrors(t *testing.T) {
	t.Parallel()
	f := new(factory)
	h := startFake(t, f)
	defer closeHandle(t, h)
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	for want, opts := range map[string][]WatchOption{
		"supervise.WithBuild: the command is nil":   {WithBuild(nil, dir)},
		"supervise.WithBuild: there are no sources": {WithBuild(exec.Command("build"))},
	} {
		if _, err := Watch(h, program, opts...); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	want := fmt.Sprintf("supervise.Watch: %s is not a regular file", dir)
	if _, err := Watch(h, dir); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := Watch(h, program, WithBuild(exec.Command("build"), filepath.Join(dir, "none"))); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// The output of a build is kept at both ends.
func TestBuildOutputIsBounded(t *testing.T) {
	t.Parallel()
	var e ends
	const lines = 10_000
	for i := range lines {
		if _, err := fmt.Fprintf(&e, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	got := e.String()
	if len(got) > 2*maxBuildOutput+100 || !strings.HasPrefix(got, "line 0\n") || !strings.HasSuffix(got, fmt.Sprintf("line %d", lines-1)) || !strings.Contains(got, " bytes ...") {
		t.Errorf("%d bytes: %.20q ... %q", len(got), got, got[len(got)-20:])
	}
}
