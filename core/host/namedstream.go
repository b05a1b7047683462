package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/session"
)

// NamedStream describes a stream to a [NamedStreamInterceptor].
type NamedStream struct {
	Plugin   string // the plugin's name ([WithName])
	Name     string // the name of the stream
	Accepted bool   // this side accepts the stream, and the plugin opens it
}

// NamedStreamInterceptor is called for [Plugin.OpenStream] and [Plugin.AcceptStream]. meet
// returns the stream when both sides are there; its context bounds only that. The interceptor
// may return a stream of its own around the one of meet, which keeps CloseWrite() error.
//
// Streams of bytes have no metadata. So the context has what this side knows: that of the
// call in which the stream is opened or accepted, if there is one.
type NamedStreamInterceptor func(ctx context.Context, s NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error)

// WithNamedStreams adds an interceptor around named streams. Interceptors that are added
// first are outermost.
func WithNamedStreams(intercept NamedStreamInterceptor) Option {
	return optionFunc(func(cfg *config) error {
		if intercept == nil {
			return errors.New("host.WithNamedStreams: the interceptor is nil")
		}
		cfg.namedStreams = append(cfg.namedStreams, intercept)
		return nil
	})
}

// intercepted runs the interceptors around meet.
func (p *Plugin) intercepted(ctx context.Context, s NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error) {
	for _, intercept := range slices.Backward(p.namedStreams) {
		next := meet
		meet = func(ctx context.Context) (net.Conn, error) { return intercept(ctx, s, next) }
	}
	return meet(ctx)
}

// OpenStream opens a stream of bytes to the plugin. It returns when the plugin has
// accepted the stream under the same name (plugin.AcceptStream). The context bounds
// only that wait. Without a deadline the wait lasts until the plugin ends.
//
// The caller closes the stream. On every transport of this project the stream has a
// method CloseWrite() error, which ends one direction. A stream ends with the plugin.
// On quic and on an inherited connection, what is left in the stream can be read for
// one more second. A name has at most 255 bytes. A plugin of another framework has no
// streams.
//
// On a unix socket, on TCP and on an inherited connection, io.EOF also comes when the
// other process has died. So let the data say how long it is, or look at Err. A writer
// gets an error when its reader has closed the stream, except on an inherited
// connection: there the data is discarded.
func (p *Plugin) OpenStream(ctx context.Context, name string) (net.Conn, error) {
	return p.intercepted(ctx, NamedStream{Plugin: p.name, Name: name}, func(ctx context.Context) (net.Conn, error) {
		return p.named(ctx, session.Offered, "open", name)
	})
}

// AcceptStream returns the next stream that the plugin opens under that name
// (plugin.OpenStream). Everything else is as for [Plugin.OpenStream].
func (p *Plugin) AcceptStream(ctx context.Context, name string) (net.Conn, error) {
	return p.intercepted(ctx, NamedStream{Plugin: p.name, Name: name, Accepted: true}, func(ctx context.Context) (net.Conn, error) {
		return p.named(ctx, session.Awaited, "accept", name)
	})
}

func (p *Plugin) named(ctx context.Context, purpose session.Purpose, verb, name string) (net.Conn, error) {
	// The wait ends when the process ends, whatever state the connection is in.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(p.child.gone, func() { cancel(context.Cause(p.child.gone)) })
	defer stop()
	conn, err := p.session.Named(ctx, purpose, name)
	if err == nil {
		return conn, nil
	}
	switch {
	case p.child.hasExited(), ctx.Err() == nil && isLoss(err) && p.child.exitsAfterLoss():
		err = p.ended(ctx, err)
	case errors.Is(err, context.DeadlineExceeded):
		if why := p.child.whyStopped(); why != "" {
			err = fmt.Errorf("%w: %s", err, why)
		}
	}
	return nil, fmt.Errorf("%s stream %q of plugin %s: %w", verb, name, p.child.label(), err)
}

// isLoss reports whether the end of the other process can be the reason of an error.
func isLoss(err error) bool {
	return slices.ContainsFunc([]error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, fs.ErrNotExist, syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNREFUSED,
	}, func(loss error) bool { return errors.Is(err, loss) })
}

// ended returns how the plugin ended, which says more than err.
func (p *Plugin) ended(ctx context.Context, err error) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), errExited) {
			return err
		}
		<-p.done // supervise bounds it
	}
	if p.err != nil {
		return p.err
	}
	return p.child.named(errClosed)
}
