package grpcecho

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/work"
)

// Client is the caller's end.
type Client struct{ Echo echopb.EchoClient }

// Unary calls the quick handler.
func (c Client) Unary(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	return c.Echo.Unary(ctx, p)
}

// Mixed calls the handler that sleeps now and then.
func (c Client) Mixed(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	return c.Echo.Mixed(ctx, p)
}

// Metadata calls with two metadata pairs, and reads those of the answer.
func (c Client) Metadata(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	var header metadata.MD
	answer, err := c.Echo.Metadata(metadata.AppendToOutgoingContext(ctx, keyTrace, valueTrace, keyTenant, valueTenant), p, grpc.Header(&header))
	if err != nil {
		return nil, err
	}
	if trace, tenant := header.Get(keyTrace), header.Get(keyTenant); len(trace) != 1 || len(tenant) != 1 {
		return nil, fmt.Errorf("the answer's metadata is %v", header)
	}
	return answer, nil
}

// ServerStream receives count messages of size bytes.
func (c Client) ServerStream(ctx context.Context, count, size int) (int, error) {
	s, err := c.Echo.ServerStream(ctx, &messages.StreamRequest{Count: int64(count), Size: int64(size)})
	if err != nil {
		return 0, err
	}
	return work.Count(s.Recv)
}

// ClientStream sends count messages of size bytes.
func (c Client) ClientStream(ctx context.Context, count, size int) (int, error) {
	s, err := c.Echo.ClientStream(ctx)
	if err != nil {
		return 0, err
	}
	if err := work.SendCount(count, size, s.Send); err != nil {
		return 0, err
	}
	sum, err := s.CloseAndRecv()
	return int(sum.GetCount()), err
}

// Bidi opens a stream that echoes.
func (c Client) Bidi(ctx context.Context) (ping func(*messages.Payload) error, done func() error, err error) {
	s, err := c.Echo.Bidi(ctx)
	if err != nil {
		return nil, nil, err
	}
	ping = func(p *messages.Payload) error {
		if err := s.Send(p); err != nil {
			return err
		}
		_, err := s.Recv()
		return err
	}
	done = func() error {
		if err := s.CloseSend(); err != nil {
			return err
		}
		if _, err := s.Recv(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("the stream ends with %w", err)
		}
		return nil
	}
	return ping, done, nil
}

// Callback makes the plugin call the host.
func (c Client) Callback(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	return c.Echo.Callback(ctx, p)
}
