package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A Watcher follows the file of a plugin's program, and restarts the plugin when the file
// has changed. [Watch] starts it.
//
// It asks the system for the times and sizes of the files, a few times a second. The
// notifications of the systems (inotify, kqueue, FSEvents) would save this work. But each
// differs from the others and has limits on how much is watched. None sees a change that
// another machine makes on a network or container file system.
type Watcher struct {
	handle  *Handle
	program string
	sources []string
	build   *exec.Cmd // a template; nil: other programs build
	swaps   []SwapOption

	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	// The fields below belong to the goroutine.
	running fs.FileInfo // of the program that was started last; nil: there was no file
	built   *tree       // what was built last; nil if nothing is built
	failure string      // of the last look at the sources, which is told once
}

// WatchOption changes one [Watch].
type WatchOption interface {
	apply(w *Watcher) error
}

type watchOptionFunc func(*Watcher) error

func (f watchOptionFunc) apply(w *Watcher) error { return f(w) }

// WithBuild sets a command that builds the program, and the files and directories that it
// builds from. The command runs when one of them has changed. Its path, arguments,
// environment and directory are used, each time for a new process.
//
// Files and directories whose names begin with a dot or end with a tilde do not count, nor
// does the program. The command must not write other files into the directories that
// differ each time: each would be one more change.
func WithBuild(command *exec.Cmd, sources ...string) WatchOption {
	return watchOptionFunc(func(w *Watcher) error {
		switch {
		case command == nil:
			return errors.New("supervise.WithBuild: the command is nil")
		case len(sources) == 0:
			return errors.New("supervise.WithBuild: there are no sources")
		}
		w.build, w.sources = command, sources
		return nil
	})
}

// WithSwapOptions sets the options of each swap that the watcher makes.
func WithSwapOptions(opts ...SwapOption) WatchOption {
	return watchOptionFunc(func(w *Watcher) error {
		w.swaps = opts
		return nil
	})
}

const (
	// watchInterval is the shortest time between two looks. With settleTime it leaves some
	// milliseconds for the start, so that a new version serves 100 ms after it was written.
	watchInterval = 20 * time.Millisecond
	// watchShare bounds the cost of many sources: looking at them takes at most this share
	// of the time.
	watchShare = 20
	// settleTime is how long nothing may change until a change counts as complete. Editors
	// and linkers write several times within a few milliseconds.
	settleTime = 50 * time.Millisecond
	// settlePatience is how long a watcher waits for that. It is for files that change all
	// the time, such as a log.
	settlePatience = 30 * time.Second
)

// Watch follows the file of the program that the launch function of h starts, until Close
// or the end of the handle. When the file is another one or was written, Watch replaces the
// plugin as [Handle.Restart] does: no call fails, and a program that does not become ready
// leaves the old plugin as it was. Changes that follow each other closely are one change.
//
// The listener of the handle ([WithListener]) gets KindChanged, KindBuilding, KindBuilt,
// KindBuildFailed, KindSwapped and KindRefused.
//
// Call Watch right after [Start]: what changed before Watch is not noticed. If the old
// plugin crashes while a broken program is in its place, the handle starts that program
// like any other.
func Watch(h *Handle, program string, opts ...WatchOption) (*Watcher, error) {
	w := &Watcher{handle: h, program: program, done: make(chan struct{})}
	var errs []error
	for _, o := range opts {
		errs = append(errs, o.apply(w))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	if w.running, err = statProgram(program); err != nil {
		return nil, fmt.Errorf("supervise.Watch: %w", err)
	}
	if w.build != nil {
		if w.built, err = w.look(); err != nil {
			return nil, fmt.Errorf("supervise.Watch: %w", err)
		}
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go w.run(ctx)
	return w, nil
}

// Close ends the watch, and a build or a swap that is under way. It leaves the plugin as it
// is. Close may be called often.
func (w *Watcher) Close() error {
	w.cancel()
	<-w.done
	return nil
}

// statProgram returns nil if there is no file: it may be in the middle of its replacement.
func statProgram(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // no file is a value here
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return info, nil
}

// run is the goroutine of the watcher.
func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-w.handle.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	defer waiting.Wait()
	defer cancel()
	for pause := watchInterval; sleep(ctx, pause); {
		began := time.Now()
		changed, err := w.changedSource()
		pause = max(watchInterval, watchShare*time.Since(began))
		w.tellFailure(err)
		complete := changed != "" && w.rebuild(ctx, changed)
		w.followProgram(ctx, complete)
	}
}

// sleep reports whether d went by before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// settle looks until nothing has changed for settleTime, and returns what it saw last. It
// returns early when ctx ends.
func settle[T any](ctx context.Context, look func() T, same func(a, b T) bool) T {
	began := time.Now()
	seen, since := look(), began
	for sleep(ctx, watchInterval) && time.Since(since) < settleTime && time.Since(began) < settlePatience {
		if next := look(); !same(seen, next) {
			seen, since = next, time.Now()
		}
	}
	return seen
}

// followProgram replaces the plugin if the program is another one. complete says that
// the program is not being written.
func (w *Watcher) followProgram(ctx context.Context, complete bool) {
	look := func() fs.FileInfo {
		info, err := statProgram(w.program)
		if err != nil {
			return nil // it is not a program now, so the watcher waits
		}
		return info
	}
	found := look()
	if found == nil || sameProgram(found, w.running) {
		return
	}
	if !complete {
		found = settle(ctx, look, sameProgram)
	}
	if found == nil || sameProgram(found, w.running) || ctx.Err() != nil {
		return
	}
	w.handle.tell(Event{Kind: KindChanged, Path: w.program})
	if w.handle.State().Phase == PhaseIdle {
		w.running = found // the first call starts it
		return
	}
	err := w.handle.Restart(ctx, w.swaps...)
	if ctx.Err() != nil {
		return
	}
	if err != nil && isBeingWritten(err, found, look()) {
		return // the next look finds the change again
	}
	w.running = found
	if err != nil {
		w.handle.tell(Event{Kind: KindRefused, Path: w.program, Err: err})
	}
}

func sameProgram(a, b fs.FileInfo) bool {
	return a == nil && b == nil || a != nil && b != nil && sameFile(a, b) && os.SameFile(a, b)
}

// isBeingWritten reports whether a program that did not start was not complete.
func isBeingWritten(err error, before, now fs.FileInfo) bool {
	return errors.Is(err, syscall.ETXTBSY) || !sameProgram(before, now)
}

// rebuild runs the build command after a change. It reports whether the program was built.
func (w *Watcher) rebuild(ctx context.Context, changed string) bool {
	var failure error
	found := settle(ctx, func() *tree {
		t, err := w.look()
		failure = err
		return t
	}, (*tree).same)
	if ctx.Err() != nil {
		return false
	}
	w.tellFailure(failure)
	if failure != nil {
		return false
	}
	w.built = w.built.next(found)
	w.handle.tell(Event{Kind: KindChanged, Path: changed})
	w.handle.tell(Event{Kind: KindBuilding})
	err := runBuild(ctx, w.build)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		w.handle.tell(Event{Kind: KindBuildFailed, Err: err})
		return false
	default:
		w.handle.tell(Event{Kind: KindBuilt})
		return true
	}
}

// tellFailure tells once that the watcher cannot look at the sources. The watcher tries
// again with each look.
func (w *Watcher) tellFailure(err error) {
	if err == nil {
		w.failure = ""
		return
	}
	if w.failure != err.Error() {
		w.failure = err.Error()
		w.handle.tell(Event{Kind: KindBuildFailed, Err: fmt.Errorf("look for changed sources: %w", err)})
	}
}

// changedSource returns the path of a source that has changed since the last build, and ""
// if there is none.
func (w *Watcher) changedSource() (string, error) {
	if w.build == nil {
		return "", nil
	}
	now, err := w.look()
	if err != nil {
		return "", err
	}
	return w.built.changed(now), nil
}
