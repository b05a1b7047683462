package rpc

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Invoke implements [grpc.ClientConnInterface].
func (p *Peer) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := p.client.Invoke(ctx, method, args, reply, opts...)
	if err == nil {
		return nil
	}
	return p.explain(ctx, err)
}

// Plain returns the connection for calls out whose errors are grpc's own: for the
// framework's streams, whose end needs no explanation, and is not to wait for one.
func (p *Peer) Plain() grpc.ClientConnInterface { return p.client }

// NewStream implements [grpc.ClientConnInterface].
func (p *Peer) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := p.client.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, p.explain(ctx, err)
	}
	return &clientStream{ClientStream: s, peer: p, ctx: ctx}, nil
}

// clientStream explains the errors of a stream.
type clientStream struct {
	grpc.ClientStream
	peer *Peer
	ctx  context.Context //nolint:containedctx // the caller's: the stream's own has ended when there is something to explain
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
	return s.peer.explain(s.ctx, err)
}

// CallError is the error of a call that the other side can no longer answer.
// Its status is codes.Unavailable; it unwraps to the reason, such as how the
// plugin's process ended.
type CallError struct {
	reason error
}

// Error returns the status and the reason.
func (e *CallError) Error() string { return e.GRPCStatus().Err().Error() }

// GRPCStatus makes status.FromError and status.Code work.
func (e *CallError) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, e.reason.Error())
}

// Unwrap returns the reason.
func (e *CallError) Unwrap() error { return e.reason }

// explain is off the path of a call that succeeds. It replaces what grpc says
// of a connection that is gone by the reason why it is gone, says of a deadline
// the same whichever side has seen it pass first, and adds to an error about size
// what to do. What a handler returned stays as it is.
func (p *Peer) explain(ctx context.Context, err error) error {
	switch status.Code(err) {
	case codes.ResourceExhausted:
		return explainSize(err)
	case codes.DeadlineExceeded:
		if strings.HasPrefix(status.Convert(err).Message(), resetMark) {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		return err
	case codes.Unavailable, codes.Canceled:
		if !p.Broken() {
			return err
		}
		// Whoever owns the peer is finding out why; it calls Fail in bounded
		// time after Lost was closed.
		select {
		case <-p.failed:
			if ctx.Err() != nil && status.Code(err) == codes.Canceled {
				return err
			}
			return &CallError{reason: p.reason}
		case <-ctx.Done():
			return err
		}
	default:
		return err
	}
}

// Broken reports whether the connection for calls out is closed, as it always is
// before grpc ends the streams on it. A handler that returns codes.Unavailable
// over a live connection is told apart by this, as is a plugin that takes no new
// calls while those in flight end.
func (p *Peer) Broken() bool {
	select {
	case <-p.failed:
		return true
	default:
	}
	return isClosed(p.conn)
}

// resetMark begins grpc's text for a call that the other side has cut off, at the
// deadline in this case (internal/transport/http2_client.go there).
const resetMark = "stream terminated by RST_STREAM"

// sizeMarks are in the messages of grpc's errors about size (rpc_util.go,
// stream.go and server.go there).
var sizeMarks = []string{"message larger than max", "message after decompression larger than max"}

func explainSize(err error) error {
	s := status.Convert(err)
	for _, mark := range sizeMarks {
		if strings.Contains(s.Message(), mark) && !strings.Contains(s.Message(), "WithMaxMessageSize") {
			p := s.Proto()
			p.Message += "; raise the limit on both sides with host.WithMaxMessageSize and plugin.WithMaxMessageSize"
			return status.ErrorProto(p)
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
