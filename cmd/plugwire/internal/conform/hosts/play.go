package hosts

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// EnvPlugin is the variable by which a host finds the plugin that it starts, beside the
// placeholders in its arguments.
const EnvPlugin = "PLUGWIRE_CONFORM_PLUGIN"

// The placeholders of the plugin's path in the arguments of a host.
var placeholders = []string{"{plugin}", "{}"}

// stage is one run of the host: a scene, and what is around the host.
type stage struct {
	scene probe.Scene
	// env are variables of the host.
	env []string
	// stdin is what is on the host's standard input.
	stdin string
	// kill is set if the host is killed when it makes its first call.
	kill bool
}

// actor is a process of the probe.
type actor struct {
	process *probe.Process
	events  []probe.Event
	alive   bool // it had not ended when the host had, and a while after that
}

// record is what was seen in a run of the host.
type record struct {
	actors []*actor // in the order in which they started
	exit   conform.Exit
	hangs  bool // the host did not end by itself
	took   time.Duration
	output string // the end of what the host printed
	memory int64  // the host's peak, in bytes; 0 if it is not known
	// directoryLeft is set if the directory for sockets was there when the host had ended.
	directoryLeft bool
}

// leftTime is how long the processes of a plugin may live on when the host has ended. The
// kernel, or the plugin, ends them at once if anything does.
const leftTime = 5 * time.Second

// play runs the host in a stage.
func play(ctx context.Context, c *conform.Case, st *stage) (*record, error) {
	dir, err := os.MkdirTemp(c.Dir, "") // a check may play a stage for others too
	if err != nil {
		return nil, err
	}
	program, err := place(dir)
	if err != nil {
		return nil, err
	}
	scene := st.scene
	scene.Control = filepath.Join(dir, "c")
	listener, err := net.Listen("unix", scene.Control) //nolint:noctx // the case ends it
	if err != nil {
		return nil, err
	}
	c.Own(listener)
	if err := probe.WriteScene(dir, &scene); err != nil {
		return nil, err
	}
	start := conform.Start{Command: command(c.Command, program), Env: c.Environ(append(st.env, EnvPlugin+"="+program)...)}
	if st.stdin != "" {
		if start.Stdin, err = preparedInput(filepath.Join(dir, "stdin"), st.stdin); err != nil {
			return nil, err
		}
		defer start.Stdin.Close() //nolint:errcheck // the host ends, or has ended
	}
	house := &audience{c: c, address: scene.Control, called: make(chan struct{}), last: make(chan struct{}), started: make(chan struct{})}
	go house.admit(listener) // until the case ends
	begun := time.Now()
	host, err := c.Start(start)
	if err == nil {
		house.host = host.Pid()
	}
	close(house.started)
	if err != nil {
		return nil, err
	}
	if st.kill {
		select {
		case <-house.called:
			err = host.Signal(os.Kill)
		case <-host.Exited():
		case <-ctx.Done():
		}
		if err != nil {
			return nil, err
		}
	}
	r := &record{}
	sooner, cancel := patience(ctx)
	defer cancel()
	if r.exit, err = host.Wait(sooner); err != nil {
		r.hangs = true
		host.Kill()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, err := host.Wait(ctx); err != nil {
			return nil, err
		}
	}
	r.took = time.Since(begun)
	if r.actors, r.memory, err = house.empty(ctx, leftTime); err != nil {
		return nil, err
	}
	if dir := r.env().Get(probe.EnvSocketDir); dir != "" {
		_, err := os.Lstat(dir)
		r.directoryLeft = err == nil
	}
	r.output = printed(ctx, host)
	return r, nil
}

// outputTime is how long the rest of the host's output may take. Another process may hold it.
const outputTime = time.Second

// printed returns what the host has printed.
func printed(ctx context.Context, host *conform.Process) string {
	ctx, cancel := context.WithTimeout(ctx, outputTime)
	defer cancel()
	var all strings.Builder
	for _, r := range []*conform.Recording{host.Stdout, host.Stderr} {
		text, _ := r.Wait(ctx, func([]byte) bool { return false }) // an error means that there may be more
		all.Write(text)
	}
	return all.String()
}

// verdictTime is what is left of a check for its verdict when the host hangs.
const verdictTime = leftTime + 3*time.Second

// patience returns a context that ends a little before ctx does.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(verdictTime, time.Until(deadline)/2)))
}

// command returns the host's command with the plugin's path for the placeholders.
func command(args []string, program string) []string {
	replaced := make([]string, len(args))
	for i, arg := range args {
		for _, placeholder := range placeholders {
			arg = strings.ReplaceAll(arg, placeholder, program)
		}
		replaced[i] = arg
	}
	return replaced
}

// place puts the probe's program into a directory, and returns what the host starts.
func place(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	program := probe.Program(dir)
	if os.Link(self, program) != nil { // another file system, or another user's file
		if err := copyProgram(self, program); err != nil {
			return "", err
		}
	}
	return disguise(dir, program)
}

// copyProgram copies a program.
func copyProgram(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // it was read
	return writeProgram(to, source)
}

// writeProgram writes a program. No process may be started meanwhile: it would inherit the
// file for a moment, and a program that is open for writing cannot be run.
func writeProgram(name string, content io.Reader) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	target, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, content)
	return errors.Join(err, target.Close())
}

// preparedInput returns a file with a text.
func preparedInput(name, text string) (*os.File, error) {
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return os.Open(name)
}

// audience takes the events of all processes of the probe.
type audience struct {
	c       *conform.Case
	address string
	called  chan struct{} // closed at the first call
	last    chan struct{} // closed when all connections before that of [audience.empty] are known
	once    sync.Once
	wg      sync.WaitGroup // readers
	host    int            // the host's process, 0 if it did not start; set when started is closed
	started chan struct{}

	mu     sync.Mutex // guards the rest
	actors []*actor
	full   bool // no more are admitted
	memory int64
}

// admit takes connections until the listener is closed.
func (h *audience) admit(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		h.c.Own(conn)
		h.mu.Lock()
		if h.full {
			h.mu.Unlock()
			_ = conn.Close() // nobody reads the events any more
			continue
		}
		a := &actor{alive: true}
		h.actors = append(h.actors, a)
		h.wg.Go(func() { h.watch(conn, a) }) // until the process ends, or the case
		h.mu.Unlock()
	}
}

// maxEvent is the largest event: the environment may be large.
const maxEvent = 4 << 20

// watch reads the events of a process.
func (h *audience) watch(conn net.Conn, a *actor) {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		a.alive = false
	}()
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var e probe.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = probe.Event{Kind: probe.Failed, Text: fmt.Sprintf("the event %q: %v", lines.Text(), err)}
		}
		h.mu.Lock()
		a.events = append(a.events, e)
		if e.Process != nil {
			a.process = e.Process
		}
		h.mu.Unlock()
		switch e.Kind { //nolint:exhaustive // others say nothing here
		case probe.Called:
			h.once.Do(func() { close(h.called) })
		case probe.Weighed:
			if err := h.weigh(conn); err != nil {
				return // the process has ended
			}
		case curtain:
			close(h.last)
		}
	}
}

// weigh measures the host's memory while the probe waits.
func (h *audience) weigh(conn net.Conn) error {
	<-h.started
	memory := peakMemory(h.host)
	h.mu.Lock()
	h.memory = max(h.memory, memory)
	h.mu.Unlock()
	_, err := conn.Write([]byte{1})
	return err
}

// curtain is the event of a connection that is none of the probe's.
const curtain probe.Kind = "curtain"

// empty waits for the end of all processes, but no longer than limit, and returns what was
// seen of them. The host has ended, so that no others come. A connection of this process
// shows that all of theirs are known: a listener gives them out in their order.
func (h *audience) empty(ctx context.Context, limit time.Duration) (actors []*actor, memory int64, err error) {
	conn, err := net.Dial("unix", h.address) //nolint:noctx // a socket of this machine
	if err != nil {
		return nil, 0, err
	}
	err = json.NewEncoder(conn).Encode(probe.Event{Kind: curtain})
	if err = errors.Join(err, conn.Close()); err != nil {
		return nil, 0, err
	}
	select {
	case <-h.last:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	h.mu.Lock()
	h.full = true
	h.mu.Unlock()
	gone := make(chan struct{})
	go func() { // the case ends the processes, and so the readers
		h.wg.Wait()
		close(gone)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make([]*actor, 0, len(h.actors))
	for _, a := range h.actors {
		if len(a.events) > 0 && a.events[0].Kind == curtain {
			continue
		}
		copied := *a
		seen = append(seen, &copied)
	}
	return seen, h.memory, nil
}
