package otelplugwire

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
)

// hostStreams gives a span to each named stream of a host.
func (c *config) hostStreams() host.NamedStreamInterceptor {
	tracer := c.tracer()
	return func(ctx context.Context, s host.NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error) {
		return trackStream(ctx, tracer, s.Accepted, meet, streamName.String(s.Name), pluginName.String(s.Plugin))
	}
}

// pluginStreams gives a span to each named stream of a plugin.
func (c *config) pluginStreams() plugin.NamedStreamInterceptor {
	tracer := c.tracer()
	return func(ctx context.Context, s plugin.NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error) {
		return trackStream(ctx, tracer, s.Accepted, meet, streamName.String(s.Name))
	}
}

// The names of the spans of streams. The name of the stream is an attribute: there may be a
// new one for each stream.
const (
	openSpan   = "named stream open"
	acceptSpan = "named stream accept"
)

// trackStream returns the stream of meet, with a span that ends when this side closes the
// stream. A stream may outlive the call in which it was opened. So its span is the root of a
// trace of its own, with a link to the span in ctx.
func trackStream(ctx context.Context, tracer trace.Tracer, accepted bool, meet func(ctx context.Context) (net.Conn, error), attributes ...attribute.KeyValue) (net.Conn, error) {
	name, kind := openSpan, trace.SpanKindClient
	if accepted {
		name, kind = acceptSpan, trace.SpanKindServer
	}
	opts := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(kind), trace.WithAttributes(attributes...)}
	if opener := trace.SpanContextFromContext(ctx); opener.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: opener}))
	}
	_, span := tracer.Start(ctx, name, opts...)
	conn, err := meet(ctx)
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(errorType.String(kindOf(err)))
		span.End()
		return nil, err
	}
	span.AddEvent("met")
	return &trackedStream{Conn: conn, end: sync.OnceFunc(func() { span.End() })}, nil
}

// kindOf returns the error.type for a stream on which the two sides did not meet.
func kindOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return "_OTHER" // OpenTelemetry's word for an error without a kind
	}
}

// trackedStream is a named stream with a span.
type trackedStream struct {
	net.Conn
	end func()
}

// Close implements [net.Conn].
func (s *trackedStream) Close() error {
	defer s.end()
	return s.Conn.Close()
}

// CloseWrite tells the other side that nothing more comes.
func (s *trackedStream) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// ReadFrom keeps the faster way to copy that the connection may have.
func (s *trackedStream) ReadFrom(r io.Reader) (int64, error) { return io.Copy(s.Conn, r) }

// WriteTo keeps the faster way to copy that the connection may have.
func (s *trackedStream) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, s.Conn) }
