package h2

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

const (
	// lightMetadata is the size, in bytes, up to which the metadata of a call is not
	// counted. Nearly all calls have less. The limit on calls bounds it.
	lightMetadata = 8 << 10
	// fieldOverhead is the cost of a field beside its bytes, as HTTP/2 counts it
	// (RFC 9113, section 6.5.2).
	fieldOverhead = 32
)

// metadataHold bounds the metadata of all calls in flight. A call that would exceed the
// limit loses its metadata before grpc starts a goroutine for it. That goroutine refuses it.
type metadataHold struct {
	limit int64
	held  atomic.Int64
}

// tap looks at each call before grpc starts a goroutine for it (package tap). It never
// returns an error, because grpc then keeps the timer of the call's deadline, for as long as
// the caller asked for.
func (h *metadataHold) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	noteCall(ctx)
	size := metadataSize(info.Header)
	if size <= lightMetadata {
		return ctx, nil
	}
	c := newHeavyCall(ctx)
	if h.held.Add(size) > h.limit {
		h.held.Add(-size)
		c.refused = true
		return c, nil
	}
	c.full.Store(&ctx)
	context.AfterFunc(ctx, func() {
		_ = c.end(ctx.Err()) // it returns what it was given
		c.full.Store(nil)
		h.held.Add(-size)
	})
	return c, nil
}

func metadataSize(md metadata.MD) (size int64) {
	for name, values := range md {
		for _, value := range values {
			size += int64(len(name) + len(value) + fieldOverhead)
		}
	}
	return size
}

// heavyCall is the context of a call with much metadata. It drops the metadata when the
// call ends. grpc keeps the context until the other side has read the answer, and the other
// side may never do that. A goroutine that outlives the call finds all other values in it.
type heavyCall struct {
	rest     context.Context //nolint:containedctx // holds what is left of the values
	full     atomic.Pointer[context.Context]
	done     <-chan struct{}
	deadline time.Time // zero means none
	refused  bool
	err      atomic.Pointer[error] // why it ended
}

var _ context.Context = (*heavyCall)(nil)

func newHeavyCall(ctx context.Context) *heavyCall {
	c := &heavyCall{rest: context.Background(), done: ctx.Done()}
	c.deadline, _ = ctx.Deadline()
	if p, ok := peer.FromContext(ctx); ok {
		c.rest = peer.NewContext(c.rest, p)
	}
	return c
}

// heavyKey is the key under which a heavyCall finds itself.
type heavyKey struct{}

// isRefused reports whether the metadata of a call was too much.
func isRefused(ctx context.Context) bool {
	c, ok := ctx.Value(heavyKey{}).(*heavyCall)
	return ok && c.refused
}

// Deadline implements [context.Context].
func (c *heavyCall) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements [context.Context].
func (c *heavyCall) Done() <-chan struct{} { return c.done }

// Err implements [context.Context].
func (c *heavyCall) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	if full := c.full.Load(); full != nil {
		return c.end((*full).Err())
	}
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		return c.end(context.DeadlineExceeded)
	}
	return c.end(context.Canceled)
}

// end returns the first error that it is called with.
func (c *heavyCall) end(err error) error {
	c.err.CompareAndSwap(nil, &err)
	return *c.err.Load()
}

// Value implements [context.Context].
func (c *heavyCall) Value(key any) any {
	if key == (heavyKey{}) {
		return c
	}
	if full := c.full.Load(); full != nil {
		return (*full).Value(key)
	}
	return c.rest.Value(key)
}
