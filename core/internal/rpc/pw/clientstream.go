package pw

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// clientStream is a streaming call of this side. It is a [grpc.ClientStream].
type clientStream struct {
	*call
	desc *grpc.StreamDesc
	stop func() bool // of the watch on the context; nil without one

	halved  bool         // no more messages are sent; belongs to the sender
	unread  atomic.Int32 // messages sent since the last one was received
	settled sync.Once
	err     error         // how the call ended; set by settled
	done    chan struct{} // closed when err is set
}

var _ grpc.ClientStream = (*clientStream)(nil)

// newStream is the innermost streamer.
func (c *conn) newStream(ctx context.Context, desc *grpc.StreamDesc, _ *grpc.ClientConn, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.newStreamOn(ctx, desc, method, opts, false)
}

func (c *conn) newStreamOn(ctx context.Context, desc *grpc.StreamDesc, method string, opts []grpc.CallOption, plain bool) (grpc.ClientStream, error) {
	k, err := c.newCall(ctx, method, opts, plain)
	if err == nil {
		if err = k.start(desc); err == nil {
			err = k.begin(nil)
		}
		if err != nil {
			err = k.settle(err)
		}
	}
	if err != nil {
		if !plain {
			err = calls.Unsent(err)
		}
		return nil, err
	}
	k.watch.outHeader(k)
	s := &clientStream{call: k, desc: desc, done: make(chan struct{})}
	if k.ctx.Done() != nil {
		s.stop = context.AfterFunc(k.ctx, func() {
			k.abandon(k.ctx.Err())
			_ = s.end(k.ctx.Err()) // the caller gets it from the stream
		})
	}
	return s, nil
}

// finish ends the call with an error, nil for a good end. Only the first one counts. It
// returns how the call ended.
func (s *clientStream) finish(err error) error {
	if s.stop != nil {
		s.stop()
	}
	return s.end(err)
}

// end is finish for the watch on the context.
func (s *clientStream) end(err error) error {
	s.settled.Do(func() {
		s.err = s.settle(err)
		close(s.done)
	})
	<-s.done
	return s.err
}

// Context implements [grpc.ClientStream].
func (s *clientStream) Context() context.Context { return s.ctx }

// Header implements [grpc.ClientStream].
func (s *clientStream) Header() (metadata.MD, error) {
	c := s.c
	c.mu.Lock()
	err := s.await(s.ctx, wantHeader)
	md := s.header()
	c.mu.Unlock()
	switch {
	case err != nil:
		s.abandon(err)
		_ = s.finish(err)
	case md != nil:
		s.watch.header(s.call)
		return md, nil
	default:
		if err := s.result(); err != nil {
			_ = s.finish(err)
		}
	}
	return nil, nil //nolint:nilnil // as grpc does: RecvMsg has the error
}

// Trailer implements [grpc.ClientStream].
func (s *clientStream) Trailer() metadata.MD {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.trailer()
}

// CloseSend implements [grpc.ClientStream].
func (s *clientStream) CloseSend() error {
	if s.halved {
		return nil
	}
	s.halved = true
	// A message that was sent in part cannot end any more, and nothing may follow it: its
	// context has ended, or the call has.
	if s.cut == nil || s.cut == errNotEncoded { //nolint:errorlint // it is never wrapped
		s.half()
	}
	return nil
}

// SendMsg implements [grpc.ClientStream].
func (s *clientStream) SendMsg(m any) error {
	if s.halved {
		err := status.Error(codes.Internal, "SendMsg called after CloseSend")
		s.abandon(err)
		_ = s.finish(err)
		return err
	}
	if !s.desc.ClientStreams {
		s.halved = true
	}
	p, err := prepare(m, s.opts.codec, s.opts.maxSend)
	if err != nil {
		s.abandon(err)
		return s.finish(err)
	}
	err = s.sendMessage(s.ctx, &p, nil, s.unread.Add(1) > 1)
	switch {
	case err == nil:
	case status.Code(err) == codes.Internal:
		s.abandon(err)
		return s.finish(err)
	case !s.desc.ClientStreams:
		return nil // generated code returns an error of this message, and RecvMsg has the status
	default:
		return io.EOF // RecvMsg has the status
	}
	if s.halved {
		s.half()
	}
	s.watch.outPayload(m, p.size)
	return nil
}

// RecvMsg implements [grpc.ClientStream].
func (s *clientStream) RecvMsg(m any) error {
	s.unread.Store(0)
	b, large, err := s.receive(s.ctx)
	if err == nil {
		if err = decode(b, large, m, s.opts.codec, s.opts.maxReceive); err == nil {
			s.watch.inPayload(m, len(b))
			if s.desc.ServerStreams {
				return nil
			}
			return s.only(m)
		}
		s.abandon(err)
		return s.finish(err)
	}
	if errors.Is(err, io.EOF) {
		if err = s.result(); err == nil {
			if !s.desc.ServerStreams {
				err = s.finish(errNoAnswer)
			} else {
				err = s.finish(nil)
			}
			if err != nil {
				return err
			}
			return io.EOF // the call has ended before, if one answer is all
		}
	}
	s.abandon(err)
	return s.finish(err)
}

// only waits for the end after the only answer. m is the message of the answer.
func (s *clientStream) only(m any) error {
	b, _, err := s.receive(s.ctx)
	switch {
	case err == nil:
		s.watch.inPayload(m, len(b))
		s.abandon(errManyAnswers)
		return s.finish(errManyAnswers)
	case errors.Is(err, io.EOF):
		return s.finish(s.result())
	default:
		s.abandon(err)
		return s.finish(err)
	}
}
