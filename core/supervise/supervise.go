// Package supervise keeps a plugin up: its [Handle] is a connection that outlives the
// processes behind it. When a plugin ends, the handle starts another one. A new version
// replaces the old one without a failed call.
//
//	words, err := supervise.Start(ctx, func(ctx context.Context) (*host.Plugin, error) {
//		return host.Launch(ctx, exec.Command("./words-plugin"), opts...)
//	})
//	if err != nil {
//		return err
//	}
//	defer words.Close()
//	client := wordspb.NewWordsClient(words)
//
// A call costs one atomic load more than a call of a [host.Plugin]. A host that starts a
// plugin for one piece of work, and gives up when the plugin ends, needs only package
// host.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/board"
	"github.com/plugwire/plugwire/core/protocol"
)

// A LaunchFunc starts one plugin, by [host.Launch] or [host.Attach]. The handle calls it
// once for each start and owns the plugin. The context bounds the start, and ends when
// the handle is closed: a LaunchFunc that ignores it delays the end of the handle.
type LaunchFunc func(ctx context.Context) (*host.Plugin, error)

// A Handle is a connection to a plugin that outlives restarts and swaps. Generated
// clients are made from it. Its methods are safe for concurrent use.
type Handle struct {
	name     string
	row      *board.Row               // for host.WithStatus
	contract atomic.Pointer[contract] // nil until the first plugin is ready; only the machine stores it
	usage    usage

	target atomic.Pointer[target] // where calls go; only the machine stores it
	swaps  chan *swap
	stuck  chan *swap    // swaps that have not ended long after their contexts
	wakes  chan struct{} // a call wants a plugin, and the handle is idle
	log    queue
	events queue

	closing  chan struct{} // closed by the first Shutdown
	closeNow sync.Once
	closed   chan struct{} // closed when no call is taken any more; left is set then
	left     []instance    // what a Shutdown still has to stop, the last plugin first
	done     chan struct{} // closed when everything is over

	grace    context.Context //nolint:containedctx // ends when a Shutdown has no time left
	endGrace context.CancelFunc
}

var _ grpc.ClientConnInterface = (*Handle)(nil)

// instance is what a handle needs of a [*host.Plugin]. Tests have instances of their own.
type instance interface {
	grpc.ClientConnInterface
	Name() string
	Protocol() *protocol.Protocol
	Ping(ctx context.Context) error
	Quit(ctx context.Context) error
	Shutdown(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

var _ instance = (*host.Plugin)(nil)

// launcher is a [LaunchFunc] of instances.
type launcher func(ctx context.Context) (instance, error)

var errNoPlugin = errors.New("the launch function returned neither a plugin nor an error")

func (f LaunchFunc) launcher() launcher {
	return func(ctx context.Context) (instance, error) {
		p, err := f(ctx)
		switch {
		case err != nil:
			return nil, err
		case p == nil:
			return nil, errNoPlugin
		default:
			return p, nil
		}
	}
}

// Start starts a plugin and returns a handle on it. It returns when the plugin is
// initialized ([WithInit]) and healthy, or with the error of this first start, which is
// not repeated. The context bounds only the first start. The caller closes the handle.
func Start(ctx context.Context, launch LaunchFunc, opts ...Option) (*Handle, error) {
	if launch == nil {
		return nil, errors.New("supervise.Start: the launch function is nil")
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return start(ctx, launch.launcher(), cfg)
}

func start(ctx context.Context, launch launcher, cfg *config) (*Handle, error) {
	p, row := &plan{launch: launch, config: cfg}, board.NewRow()
	first, err := p.bringUp(row.WithRow(ctx), nil, func(p instance) { stop(context.WithoutCancel(ctx), p) })
	if err != nil {
		row.Close()
		return nil, err
	}
	m := newMachine(context.WithoutCancel(ctx), newHandle(first.Name(), row), p)
	m.adopt(first, p)
	m.row.Supervise(m.supervision)
	go m.run()
	return m.Handle, nil
}

// startIdle returns a handle that starts its first plugin when it is called.
func startIdle(ctx context.Context, name string, p *plan) *Handle {
	m := newMachine(context.WithoutCancel(ctx), newHandle(name, board.NewRow()), p)
	m.publish(PhaseIdle, nil)
	m.row.Supervise(m.supervision)
	go m.run()
	return m.Handle
}

func newHandle(name string, row *board.Row) *Handle {
	h := &Handle{
		name:    name,
		row:     row,
		usage:   usage{epoch: time.Now()},
		swaps:   make(chan *swap),
		stuck:   make(chan *swap),
		wakes:   make(chan struct{}),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	h.grace, h.endGrace = context.WithCancel(context.Background())
	h.log.handle = h.record
	h.events.handle = listen
	return h
}

// Name returns the name of the first plugin ([host.WithName]).
func (h *Handle) Name() string { return h.name }

// Protocol returns the version of the protocol that the first plugin speaks. All later
// plugins of the handle speak it too. Protocol returns nil for a member of a [Group] that
// was never started.
func (h *Handle) Protocol() *protocol.Protocol {
	if c := h.contract.Load(); c != nil {
		return c.protocol
	}
	return nil
}

// Plugin returns the plugin that takes calls now, for what belongs to one plugin: named
// streams, go-plugin's broker, [host.Info]. In a gap Plugin waits for the next plugin
// until ctx ends. It fails at once if the handle is down or closed. If the handle is idle,
// Plugin starts a plugin.
//
// The handle stops the plugin when it is replaced: a caller does not close it.
func (h *Handle) Plugin(ctx context.Context) (*host.Plugin, error) {
	t, err := h.ready(ctx)
	if err != nil {
		return nil, err
	}
	p, _ := t.plugin.(*host.Plugin)
	return p, nil
}

// ready waits for a target that takes calls.
func (h *Handle) ready(ctx context.Context) (*target, error) {
	t := h.target.Load()
	for t.plugin == nil || hasEnded(t.plugin) {
		next, err := h.await(ctx, t, nil)
		if err != nil {
			return nil, err
		}
		t = next
	}
	return t, nil
}

// first starts the first plugin of a handle that is idle, and returns the error of this
// start.
func (h *Handle) first(ctx context.Context) error {
	t := h.target.Load()
	for t.state.Starts == 0 {
		if t.state.Err != nil {
			return t.state.Err
		}
		next, err := h.await(ctx, t, nil)
		if err != nil {
			return err
		}
		t = next
	}
	return nil
}

// hasEnded reports whether a plugin has ended. The machine hears of it a moment later.
func hasEnded(p instance) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// Close stops the plugin with a grace of [host.DefaultGrace], as [Handle.Shutdown] does.
func (h *Handle) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), host.DefaultGrace)
	defer cancel()
	return h.Shutdown(ctx)
}

// closePatience is how long a Shutdown or a swap waits, once its context has ended, for a
// launch or an initialization that was told to end.
const closePatience = 5 * time.Second

// Shutdown ends the handle and stops the plugin, as [host.Plugin.Shutdown] does. No plugin
// is started any more, and every later call fails with codes.Unavailable. Shutdown returns
// how the last plugin ended, nil if there was none. It may be called often and by many at
// once; the shortest grace counts.
func (h *Handle) Shutdown(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, host.DefaultGrace)
		defer cancel()
	}
	h.closeNow.Do(func() { close(h.closing) })
	defer context.AfterFunc(ctx, h.endGrace)()
	<-h.closed
	errs := make([]error, len(h.left))
	var stopping sync.WaitGroup
	for i, p := range h.left {
		stopping.Go(func() { errs[i] = p.Shutdown(ctx) })
	}
	stopping.Wait()
	return errors.Join(errors.Join(errs...), h.awaitEnd(ctx))
}

func (h *Handle) awaitEnd(ctx context.Context) error {
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
	}
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-h.done:
		return nil
	case <-patience.C:
		return fmt.Errorf("plugin %s: a launch or an initialization ignores its context, which has ended", h.name)
	}
}

// Done is closed when the handle is closed and nothing of its plugins is left. A listener
// ([WithListener]) may still be busy with the last events.
func (h *Handle) Done() <-chan struct{} { return h.done }

// errClosed is why a closed handle takes no calls.
var errClosed = fmt.Errorf("the handle is closed: %w", net.ErrClosed)
