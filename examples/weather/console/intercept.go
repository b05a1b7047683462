package console

import (
	"context"
	"crypto/rand"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/examples/weather"
)

// Interceptors gives every call to a plugin an id, and every unary call a deadline.
func Interceptors() host.Option {
	return host.WithInterceptors(interceptUnary, interceptStream)
}

func interceptUnary(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	return next(withRequestID(ctx), method, request, response, conn, opts...)
}

func interceptStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return next(withRequestID(ctx), desc, conn, method, opts...)
}

// withRequestID adds an id to the metadata of a call that has none.
func withRequestID(ctx context.Context) context.Context {
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get(weather.RequestIDKey)) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, weather.RequestIDKey, rand.Text())
}

// Retry repeats a unary call that the plugin has refused because it has too many calls.
// Such a call has not begun, so that repeating it does no harm.
func Retry(pause time.Duration) host.Option {
	return host.WithInterceptors(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		for {
			err := next(ctx, method, request, response, conn, opts...)
			if status.Code(err) != codes.ResourceExhausted || !host.NotBegun(err) {
				return err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return err
			}
		}
	}, nil)
}
