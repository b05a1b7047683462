package host

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/control"
)

// StuckError is the error of a call that has ended by the deadline of its caller while a
// handler of its method went on in the plugin. It has the status of the call. The plugin
// tells the stacks without stopping. A host asks a plugin at most once a second, so that
// of many calls that end together one has them.
type StuckError struct {
	// Method is the full name of the method.
	Method string
	// Stacks has the stacks of all goroutines of the plugin that run handlers of the
	// method, as text for people of at most 64 KiB. It is the plugin's text: see
	// plugin.WithStacks.
	Stacks string
	// Err is the error of the call.
	Err error
}

// Error says where the handler is. All stacks are in Stacks only.
func (e *StuckError) Error() string {
	return e.Err.Error() + ", and its handler goes on at " + place(e.Stacks)
}

// Unwrap returns Err.
func (e *StuckError) Unwrap() error { return e.Err }

// GRPCStatus makes status.FromError and status.Code work.
func (e *StuckError) GRPCStatus() *status.Status { return status.Convert(e.Err) }

// place returns the innermost function of the first stack that is not one of the runtime
// or of the standard library's ways to wait.
func place(stacks string) string {
	first := ""
	for line := range strings.Lines(stacks) {
		line = strings.TrimSpace(line)
		name, _, isFrame := strings.Cut(line, "+0x")
		if !isFrame {
			continue
		}
		if first == "" {
			first = name
		}
		switch pkg, _, _ := strings.Cut(name, "."); pkg {
		case "runtime", "sync", "time", "syscall", "internal/poll", "internal/sync", "context", "os", "net", "io":
		default:
			return name
		}
	}
	return first
}

const (
	// stacksInterval is how often a host asks one plugin for stacks.
	stacksInterval = time.Second
	// stacksTimeout is how long the error of a call waits for the stacks. A plugin that
	// runs answers in a few milliseconds.
	stacksTimeout = 100 * time.Millisecond
)

// stuck asks a plugin where its handlers are.
type stuck struct {
	never atomic.Bool  // the plugin does not tell
	last  atomic.Int64 // when the host asked last, in nanoseconds since 1970
}

// explain returns a [*StuckError] for a call that ended by its deadline, if a handler of
// its method goes on. ctx is the caller's.
func (s *stuck) explain(ctx context.Context, conn grpc.ClientConnInterface, method string, err error) error {
	if status.Code(err) != codes.DeadlineExceeded || !errors.Is(ctx.Err(), context.DeadlineExceeded) || s.never.Load() {
		return err
	}
	now, last := time.Now().UnixNano(), s.last.Load()
	if now-last < int64(stacksInterval) || !s.last.CompareAndSwap(last, now) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stacksTimeout)
	defer cancel()
	stacks, askErr := control.Stacks(ctx, conn, method)
	if status.Code(askErr) == codes.Unimplemented {
		s.never.Store(true)
	}
	if stacks == "" { // without stacks the error says what it said before
		return err
	}
	return &StuckError{Method: method, Stacks: stacks, Err: err}
}

// stuckStream explains the errors of a stream.
type stuckStream struct {
	grpc.ClientStream
	plugin *Plugin
	ctx    context.Context //nolint:containedctx // the caller's: the stream's own has ended when there is something to explain
	method string
}

// RecvMsg implements [grpc.ClientStream].
func (s *stuckStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		return nil
	}
	return s.plugin.stuck.explain(s.ctx, s.plugin.client.Plain(), s.method, err)
}
