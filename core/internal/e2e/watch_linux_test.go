package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/supervise"
)

// TestWatchedProgram replaces the program of a plugin under load: by a rename, by a broken
// program, and by one that is written slowly. No call fails.
func TestWatchedProgram(t *testing.T) {
	t.Parallel()
	source := echoPlugin().Path
	cmd := echoPlugin()
	cmd.Path = filepath.Join(t.TempDir(), filepath.Base(source))
	cmd.Args[0] = cmd.Path
	if err := copyProgram(source, cmd.Path); err != nil {
		t.Fatal(err)
	}
	events := make(chan supervise.Event, 1000)
	h := superviseTest(t, launching(t, cmd), supervise.WithListener(func(e supervise.Event) { events <- e }))
	watcher, err := supervise.Watch(h, cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := watcher.Close(); err != nil {
			t.Error(err)
		}
	})
	stop := superviseLoad(t, h, false, func(error) bool { return false })
	await := func(want supervise.Kind) supervise.Event {
		t.Helper()
		for {
			switch e := waitFor(t, string(want), events); e.Kind {
			case want:
				return e
			case supervise.KindRefused, supervise.KindSwapped:
				t.Fatalf("%s: %v; want %s", e.Kind, e.Err, want)
			default:
			}
		}
	}

	next := cmd.Path + ".next"
	for range 3 {
		if err := copyProgram(source, next); err != nil {
			t.Fatal(err)
		}
		saved := time.Now()
		if err := os.Rename(next, cmd.Path); err != nil {
			t.Fatal(err)
		}
		await(supervise.KindSwapped)
		t.Logf("the new program served %v after it was saved", time.Since(saved))
	}

	before := h.State()
	if err := errors.Join(os.WriteFile(next, []byte("#!/bin/sh\nexit 1\n"), 0o700), os.Rename(next, cmd.Path)); err != nil {
		t.Fatal(err)
	}
	if e := await(supervise.KindRefused); e.Err == nil || e.Path != cmd.Path {
		t.Errorf("%+v", e)
	}
	if after := h.State(); after != before {
		t.Errorf("a broken program changed the handle from %+v to %+v", before, after)
	}

	program, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cmd.Path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(cmd.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	half := len(program) / 2
	_, err = f.Write(program[:half])
	time.Sleep(200 * time.Millisecond) // the watcher may or may not try to start the half
	if _, err2 := f.Write(program[half:]); err2 != nil || err != nil || f.Close() != nil {
		t.Fatal(err, err2)
	}
	await(supervise.KindSwapped)
	if answered, failed := stop(); answered == 0 || failed > 0 {
		t.Errorf("%d calls answered, %d failed", answered, failed)
	}
}
