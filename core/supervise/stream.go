package supervise

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// NewStream begins a streaming call. It is for generated code. An open stream ends with
// the plugin that took it. A stream that cannot be opened goes to the next plugin, as
// [Handle.Invoke] says. So does one with a single request, until its first answer comes.
// When the caller sends several messages, the handle does not keep them: the caller opens
// another stream if [host.NotBegun] reports true for the error of this one.
func (h *Handle) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	t := h.target.Load()
	if t.plan.idle > 0 {
		return h.usage.stream(ctx, desc, func() (grpc.ClientStream, error) {
			stream, _, err := h.openStream(ctx, h.target.Load(), desc, method, opts)
			return stream, err
		})
	}
	stream, t, err := h.openStream(ctx, t, desc, method, opts)
	if err == nil && t.plan.idle > 0 { // it went to a later plugin, which is stopped when it is idle
		return h.usage.stream(ctx, desc, func() (grpc.ClientStream, error) { return stream, nil })
	}
	return stream, err
}

// openStream returns also where the stream was opened.
func (h *Handle) openStream(ctx context.Context, t *target, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, *target, error) {
	var stream grpc.ClientStream
	open := func(p instance) (err error) {
		stream, err = p.NewStream(ctx, desc, method, opts...)
		return err
	}
	var err error
	if t.plugin != nil {
		err = open(t.plugin)
	}
	if t.plugin == nil || err != nil && h.repeats(method, err) {
		t, err = h.later(ctx, t, err, method, opts, open)
	}
	if err != nil {
		return nil, t, err
	}
	if !desc.ClientStreams {
		stream = &answerStream{ClientStream: stream, handle: h, ctx: ctx, target: t, desc: desc, method: method, opts: opts}
	}
	return stream, t, nil
}

// answerStream is a stream with a single request. It goes to another plugin until its first
// answer comes, if the call may be repeated.
type answerStream struct {
	grpc.ClientStream
	handle  *Handle
	ctx     context.Context //nolint:containedctx // the caller's, for another stream
	target  *target         // where the stream was opened
	desc    *grpc.StreamDesc
	method  string
	opts    []grpc.CallOption
	request any
	settled bool // the stream stays where it is
}

// SendMsg sends the request.
func (s *answerStream) SendMsg(m any) error {
	s.request = m
	return s.ClientStream.SendMsg(m)
}

// Header returns the metadata of the plugin, at which the stream then stays.
func (s *answerStream) Header() (metadata.MD, error) {
	s.settled = true
	return s.ClientStream.Header()
}

// RecvMsg receives the next answer.
func (s *answerStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || s.settled || s.request == nil || !s.handle.repeats(s.method, err) {
		s.settled = true
		return err
	}
	s.settled = true
	_, err = s.handle.later(s.ctx, s.target, err, s.method, s.opts, func(p instance) error { return s.again(p, m) })
	return err
}

// again makes the whole call once more, up to its first answer.
func (s *answerStream) again(p instance, m any) error {
	stream, err := p.NewStream(s.ctx, s.desc, s.method, s.opts...)
	if err != nil {
		return err
	}
	s.ClientStream = stream
	if err := stream.SendMsg(s.request); err == nil { // otherwise RecvMsg says why
		_ = stream.CloseSend() // RecvMsg says this too
	}
	return stream.RecvMsg(m)
}
