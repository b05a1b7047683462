package h2

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/meter"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// Invoke implements [grpc.ClientConnInterface].
func (c *Client) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.conn.NewStream(ctx, desc, method, opts...)
}

// ClientConn returns the connection that calls are made on. Its errors are explained too.
// It belongs to the Client, which closes it.
func (c *Client) ClientConn() *grpc.ClientConn { return c.conn }

// plainOption marks a call whose errors are not explained.
type plainOption struct{ grpc.EmptyCallOption }

func isPlain(opts []grpc.CallOption) bool {
	return slices.ContainsFunc(opts, func(o grpc.CallOption) bool {
		_, ok := o.(plainOption)
		return ok
	})
}

// plainConn makes calls whose errors are grpc's own.
type plainConn struct{ conn *grpc.ClientConn }

// Plain implements [calls.Client].
func (c *Client) Plain() grpc.ClientConnInterface { return plainConn{c.conn} }

// Invoke implements [grpc.ClientConnInterface].
func (p plainConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return p.conn.Invoke(ctx, method, args, reply, append(slices.Clip(opts), plainOption{})...)
}

// NewStream implements [grpc.ClientConnInterface].
func (p plainConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return p.conn.NewStream(ctx, desc, method, append(slices.Clip(opts), plainOption{})...)
}

// counted returns the meter that counts a call, nil if none does.
func (c *Client) counted(method string, opts []grpc.CallOption) *meter.Meter {
	if c.meter == nil || isPlain(opts) || c.control(method) {
		return nil
	}
	return c.meter
}

// invoke is the innermost interceptor of unary calls. It counts them and explains their
// errors, so that the interceptors around it see what the caller sees. One that repeats
// calls needs that.
func (c *Client) invoke(ctx context.Context, method string, args, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	m := c.counted(method, opts)
	began := m.Begin()
	err := c.explained(ctx, method, args, reply, conn, next, opts...)
	m.End(began, err)
	return err
}

// explained makes a unary call, and returns its error as the caller gets it.
func (c *Client) explained(ctx context.Context, method string, args, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	over := c.over.Load()
	err := next(ctx, method, args, reply, conn, opts...)
	if err == nil {
		return nil
	}
	// grpc.ErrClientConnClosing alone proves nothing: if grpc still has a connection when Fail
	// closes grpc, the calls that were sent end with this error too.
	unsent := over || err == grpc.ErrClientConnClosing && c.ended.Load() //nolint:errorlint,staticcheck // a status of the other side that says the same is another value
	err, unconnected := c.dialer.isOwn(err)
	switch {
	case isPlain(opts):
		return err
	case unsent || unconnected:
		return calls.Unsent(c.explain(ctx, err, true))
	default:
		return c.explain(ctx, err, true)
	}
}

// newStream is the innermost interceptor of streams. If it fails, grpc has sent nothing.
func (c *Client) newStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if m := c.counted(method, opts); m != nil {
		opts = append(slices.Clip(opts), countStream(m))
	}
	s, err := next(ctx, desc, conn, method, opts...)
	if err != nil {
		err, _ = c.dialer.isOwn(err)
	}
	switch {
	case isPlain(opts):
		return s, err
	case err != nil:
		return nil, calls.Unsent(c.explain(ctx, err, false))
	default:
		return &clientStream{ClientStream: s, client: c, ctx: ctx}, nil
	}
}

// countStream returns an option that counts a stream: from now on until it ends, which is
// when its caller has received the end, or when its context has ended.
func countStream(m *meter.Meter) grpc.CallOption {
	var ended sync.Once
	began := m.Begin()
	return grpc.OnFinish(func(err error) { ended.Do(func() { m.End(began, err) }) })
}

// clientStream explains the errors of a stream.
type clientStream struct {
	grpc.ClientStream
	client *Client
	ctx    context.Context //nolint:containedctx // the caller's: the stream's own has ended when there is something to explain
}

func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, s.explain(err)
}

func (s *clientStream) SendMsg(m any) error { return s.explain(s.ClientStream.SendMsg(m)) }

func (s *clientStream) RecvMsg(m any) error { return s.explain(s.ClientStream.RecvMsg(m)) }

func (s *clientStream) explain(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return s.client.explain(s.ctx, err, false)
}

// explain improves grpc's error of a call. A call that succeeds does not come here.
// For a connection that is lost, explain returns the reason of the loss. For a deadline, it
// returns one text, whichever side saw the deadline pass first. To an error about size it
// adds what to do. It does not change what a handler returned. unary says that the call has
// one message: if there was no room for that, its handler has not begun.
func (c *Client) explain(ctx context.Context, err error, unary bool) error {
	explained := c.reasonOf(ctx, err, unary)
	if calls.NotBegun(err) && !calls.NotBegun(explained) { // refused, right before the end
		return calls.Unsent(explained)
	}
	return explained
}

// reasonOf returns the error that replaces err.
func (c *Client) reasonOf(ctx context.Context, err error, unary bool) error {
	switch status.Code(err) {
	case codes.ResourceExhausted:
		return c.explainSize(err, unary)
	case codes.Internal:
		if strings.Contains(status.Convert(err).Message(), inflateMark) {
			return calls.NoRoom(c.other, !unary)
		}
		return err
	case codes.DeadlineExceeded:
		return c.explainDeadline(err)
	case codes.Unavailable, codes.Canceled:
		if !c.Broken() && !c.lostCaller(ctx) {
			return err
		}
		if c.dialer.redial != nil && !c.lostCaller(ctx) {
			return c.explainCut(ctx, err)
		}
		return c.explainLoss(ctx, status.Code(err))
	default:
		return err
	}
}

// reasonPatience bounds the wait for the reason of a loss: for a call whose own context
// has ended with the connection.
const reasonPatience = 5 * time.Second

// lostCaller reports whether ctx is that of a call of the other side, and was cancelled
// because the connection of that call has ended. That connection ends with the other side.
// grpc closes a connection before it cancels the calls on it.
func (c *Client) lostCaller(ctx context.Context) bool {
	conn := callerConn(ctx)
	return conn != nil && conn.server == c.callers && errors.Is(ctx.Err(), context.Canceled) && isLost(conn.stream)
}

// explainLoss returns the error of a call on a connection that is lost. If grpc's code is
// Unavailable, the loss has ended the call. If it is Canceled, that was the loss or the end
// of ctx.
func (c *Client) explainLoss(ctx context.Context, code codes.Code) error {
	// The owner of the Client finds out why, and calls Fail in bounded time after the
	// connection was lost.
	select {
	case <-c.failed:
	case <-ctx.Done():
	}
	ended := ctx.Err()
	if c.lostCaller(ctx) { // the loss has cancelled ctx
		ended = nil
		patience := time.NewTimer(reasonPatience)
		defer patience.Stop()
		select {
		case <-c.failed:
		case <-patience.C:
		}
	}
	select {
	case <-c.failed:
	default:
		return status.FromContextError(ctx.Err()).Err()
	}
	return c.because(code, ended)
}

// because returns the error of a call that ended because the other side did. code is
// grpc's, and ended is how the caller's context ended, if it did.
func (c *Client) because(code codes.Code, ended error) error {
	if code == codes.Unavailable {
		ended = nil
	}
	return calls.LostError(ended, c.reason)
}

// explainDeadline adds what keeps the other side from answering, if that is known.
func (c *Client) explainDeadline(err error) error {
	s := status.Convert(err)
	text := s.Message()
	if strings.HasPrefix(text, resetMark) {
		text = context.DeadlineExceeded.Error()
	}
	if c.stalled != nil {
		if why := c.stalled(); why != "" {
			text += ": " + why
		}
	}
	if text == s.Message() {
		return err
	}
	withText := s.Proto()
	withText.Message = text
	return status.ErrorProto(withText)
}

// Broken implements [calls.Client]. It is true before grpc ends the calls on a lost
// connection. So it distinguishes these from a handler that returns codes.Unavailable, and
// from a plugin that refuses new calls while it drains.
func (c *Client) Broken() bool { return c.hasFailed() || c.dialer.isBroken() }

// hasFailed reports whether reason is set.
func (c *Client) hasFailed() bool {
	select {
	case <-c.failed:
		return true
	default:
		return false
	}
}

// resetMark begins grpc's text for a call that the other side has reset, here at its
// deadline (internal/transport/http2_client.go in grpc).
const resetMark = "stream terminated by RST_STREAM"

// sizeMarks are in grpc's errors about size (rpc_util.go, stream.go and server.go in
// grpc).
var sizeMarks = []string{"message larger than max", "message after decompression larger than max"}

func (c *Client) explainSize(err error, unary bool) error {
	s := status.Convert(err)
	if strings.Contains(s.Message(), refusedMark) {
		return calls.NoRoom(c.other, !unary)
	}
	for _, mark := range sizeMarks {
		if strings.Contains(s.Message(), mark) && !strings.Contains(s.Message(), "WithMaxMessageSize") {
			more := s.Proto()
			more.Message += calls.RaiseMessageSize
			return status.ErrorProto(more)
		}
	}
	return err
}

func statusMessage(err error) string {
	if err == nil {
		return "no error"
	}
	msg := status.Convert(err).Message()
	// grpc's prefixes say nothing to a person.
	for _, prefix := range []string{"connection error: desc = ", "transport: authentication handshake failed: "} {
		msg = strings.TrimPrefix(msg, prefix)
		msg = strings.TrimPrefix(strings.Trim(msg, `"`), prefix)
	}
	return msg
}
