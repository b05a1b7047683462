package supervise

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var fakeProtocol = protocol.New("fake", 1)

// fakePlugin is an instance without a process.
type fakePlugin struct {
	number   int
	protocol *protocol.Protocol
	slow     time.Duration // what a stop takes
	done     chan struct{}
	stream   func(method string) grpc.ClientStream // nil: a stream is a call

	mu          sync.Mutex // guards the fields below
	initialized bool
	asked       bool
	health      func(ctx context.Context) error // nil: healthy
	call        func(ctx context.Context, method string) error
	quit        func(ctx context.Context) error // nil: unsupported
	err         error
	calls       int
}

// exitError is how a fake plugin ends that is killed.
func exitError() error {
	return &host.ExitError{Name: "fake", Command: "fake", Status: host.ExitStatus{Signal: "killed"}}
}

// kill ends the plugin as a crash does.
func (f *fakePlugin) kill() { f.end(exitError()) }

func (f *fakePlugin) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
	default:
		f.err = err
		close(f.done)
	}
}

// set changes the plugin.
func (f *fakePlugin) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakePlugin) Invoke(ctx context.Context, method string, _, reply any, _ ...grpc.CallOption) error {
	f.mu.Lock()
	call, asked, initialized := f.call, f.asked, f.initialized
	f.mu.Unlock()
	select {
	case <-f.done:
		return host.NotSent("the plugin has ended").Err()
	default:
	}
	if asked {
		return host.NotSent("the plugin is shutting down").Err()
	}
	if !initialized {
		return status.Error(codes.FailedPrecondition, "not initialized")
	}
	f.set(func() { f.calls++ })
	if call != nil {
		if err := call(ctx, method); err != nil {
			return err
		}
	}
	if n, ok := reply.(*int); ok {
		*n = f.number
	}
	return nil
}

func (f *fakePlugin) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if f.stream != nil {
		return f.stream(method), nil
	}
	return nil, f.Invoke(ctx, method, nil, nil)
}

func (f *fakePlugin) Name() string                 { return "fake" }
func (f *fakePlugin) Protocol() *protocol.Protocol { return f.protocol }
func (f *fakePlugin) Done() <-chan struct{}        { return f.done }

func (f *fakePlugin) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fakePlugin) Ping(ctx context.Context) error {
	f.mu.Lock()
	health := f.health
	f.mu.Unlock()
	if health == nil {
		return nil
	}
	return health(ctx)
}

func (f *fakePlugin) Quit(ctx context.Context) error {
	f.mu.Lock()
	quit := f.quit
	f.mu.Unlock()
	if quit == nil {
		return errors.ErrUnsupported
	}
	return quit(ctx)
}

func (f *fakePlugin) Shutdown(ctx context.Context) error {
	f.set(func() { f.asked = true })
	if f.slow > 0 {
		select {
		case <-f.done:
		case <-time.After(f.slow):
		case <-ctx.Done():
			f.kill()
		}
	}
	f.end(nil)
	return f.Err()
}

// factory launches fake plugins, and has each of them.
type factory struct {
	mu       sync.Mutex // guards the fields below
	plugins  []*fakePlugin
	launches int
	prepare  func(ctx context.Context, p *fakePlugin) error // of the next starts; may be nil
}

func (f *factory) launch(ctx context.Context) (instance, error) {
	f.mu.Lock()
	f.launches++
	p := &fakePlugin{number: f.launches, protocol: fakeProtocol, done: make(chan struct{})}
	prepare := f.prepare
	f.mu.Unlock()
	if prepare != nil {
		if err := prepare(ctx, p); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plugins = append(f.plugins, p)
	return p, nil
}

// set changes what the next launches do.
func (f *factory) set(prepare func(ctx context.Context, p *fakePlugin) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prepare = prepare
}

// last returns the plugin that was launched last.
func (f *factory) last() *fakePlugin {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plugins[len(f.plugins)-1]
}

// count returns how many launches there were.
func (f *factory) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.launches
}

// startFake starts a handle on plugins of the factory. The test closes the handle.
func startFake(t *testing.T, f *factory, opts ...Option) *Handle {
	t.Helper()
	h, err := tryFake(t, f, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func tryFake(t *testing.T, f *factory, opts ...Option) (*Handle, error) {
	t.Helper()
	return start(t.Context(), f.launch, fakeConfig(t, opts...))
}

// fakeConfig returns a configuration that initializes fake plugins.
func fakeConfig(t *testing.T, opts ...Option) *config {
	t.Helper()
	cfg, err := newConfig(append([]Option{WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil)))}, opts...))
	if err != nil {
		t.Fatal(err)
	}
	initialize := cfg.initialize
	cfg.initialize = func(ctx context.Context, p instance) error {
		if initialize != nil {
			if err := initialize(ctx, p); err != nil {
				return err
			}
		}
		fake := p.(*fakePlugin)
		fake.set(func() { fake.initialized = true })
		return nil
	}
	return cfg
}

// withInit is WithInit for fake plugins.
func withInit(initialize func(ctx context.Context, p *fakePlugin) error) Option {
	return optionFunc(func(cfg *config) error {
		cfg.initialize = func(ctx context.Context, p instance) error { return initialize(ctx, p.(*fakePlugin)) }
		return nil
	})
}

// closeHandle ends the handle, as a test in a bubble must.
func closeHandle(t *testing.T, h *Handle) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-h.Done()
}

// call makes a call and returns the number of the plugin that answered.
func call(ctx context.Context, h *Handle, opts ...grpc.CallOption) (int, error) {
	var number int
	err := h.Invoke(ctx, "/fake.Fake/Call", nil, &number, opts...)
	return number, err
}

// recorder is a listener.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) listen(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// take returns the kinds of the events since the last take.
func (r *recorder) take() []Kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []Kind
	for _, e := range r.events {
		kinds = append(kinds, e.Kind)
	}
	r.events = nil
	return kinds
}

// lostError is what a call in flight gets when its plugin crashes.
type lostError struct{ error }

func (e *lostError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }
func (e *lostError) Unwrap() error              { return e.error }

func lost() error { return &lostError{exitError()} }

var errBroken = errors.New("broken")

// discard drops all records.
var discard = slog.New(slog.DiscardHandler)
