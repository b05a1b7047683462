package pw

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// keyCatcher is a context that keeps the key under which a function looks.
type keyCatcher struct {
	context.Context //nolint:containedctx // it is one
	key             any
}

func (k *keyCatcher) Value(key any) any {
	k.key = key
	return nil
}

// keyOf returns the key under which look looks in a context. grpc does not export its keys,
// and a context with a value for each of them would be made for each call.
func keyOf(look func(context.Context)) any {
	k := &keyCatcher{Context: context.Background()}
	look(k)
	return k.key
}

// mayEnd reports whether a context can end. Done would allocate the channel of a context with a
// deadline, and a caller that reads its answer itself never waits for the channel.
func mayEnd(ctx context.Context) bool {
	_, ok := ctx.Deadline()
	return ok || ctx.Done() != nil
}

var keys = sync.OnceValue(func() (k struct{ metadata, outgoing, stream any }) {
	k.metadata = keyOf(func(ctx context.Context) { metadata.FromIncomingContext(ctx) })
	k.outgoing = keyOf(func(ctx context.Context) { metadata.FromOutgoingContext(ctx) })
	k.stream = keyOf(func(ctx context.Context) { grpc.ServerTransportStreamFromContext(ctx) })
	return k
})

// callContext is the context of a handler. It makes its channel and its timer on first use.
// A handler may keep it: it is all that a goroutine has that outlives the handler of a unary call.
type callContext struct {
	base     context.Context //nolint:containedctx // what all calls of the connection have
	method   string
	deadline time.Time // zero means none
	metadata *incoming
	own      incoming // what metadata points to if the call before had other metadata

	sending  sync.Mutex // guards the next field and the answer of the call, and is held while a message is sent
	handling *handling  // nil when the handler has returned

	mu    sync.Mutex // guards the fields below
	done  chan struct{}
	timer *time.Timer
	err   error
	funcs map[*func()]struct{} // to run at the end
}

var _ context.Context = (*callContext)(nil)

// Deadline implements [context.Context].
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements [context.Context].
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		} else {
			c.watch()
		}
	}
	return c.done
}

// watch sets the timer of the deadline. The caller holds mu.
func (c *callContext) watch() {
	if c.timer == nil && !c.deadline.IsZero() && c.err == nil {
		c.timer = time.AfterFunc(time.Until(c.deadline), func() { c.cancel(context.DeadlineExceeded) })
	}
}

// Err implements [context.Context].
func (c *callContext) Err() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err == nil && !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		c.cancel(context.DeadlineExceeded)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	}
	return err
}

// Value implements [context.Context].
func (c *callContext) Value(key any) any {
	switch k := keys(); key {
	case k.metadata:
		return c.metadata.parsed()
	case k.stream:
		return transportStream{c}
	}
	return c.base.Value(key)
}

// AfterFunc is what package context asks of a context that is not its own, so that it needs
// no goroutine for a context made of this one.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.funcs == nil {
		c.funcs = make(map[*func()]struct{})
	}
	c.funcs[&f] = struct{}{}
	c.watch()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.funcs[&f]
		delete(c.funcs, &f)
		return waits
	}
}

// cancel ends the context. Only the first reason counts.
func (c *callContext) cancel(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.done != nil {
		close(c.done)
	}
	for f := range c.funcs {
		go (*f)()
	}
	c.funcs = nil
}
