package station

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/examples/weather"
)

// Interceptors logs every call of the host with its id.
func Interceptors() plugin.Option {
	return plugin.WithInterceptors(logUnary, logStream)
}

func logUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	start := time.Now()
	response, err := next(ctx, request)
	logCall(ctx, info.FullMethod, start, err)
	return response, err
}

func logStream(handler any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	start := time.Now()
	err := next(handler, stream)
	logCall(stream.Context(), info.FullMethod, start, err)
	return err
}

// logCall writes one line into the host's log.
func logCall(ctx context.Context, method string, start time.Time, err error) {
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelInfo, "call",
		slog.String("method", method),
		slog.String("request_id", weather.RequestID(ctx)),
		slog.String("code", status.Code(err).String()),
		slog.Duration("took", time.Since(start)))
}

// HostInterceptors passes the id of the host's call on when its handler calls the host.
func HostInterceptors() plugin.Option {
	return plugin.WithHostInterceptors(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if id := weather.RequestID(ctx); id != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, weather.RequestIDKey, id)
		}
		return next(ctx, method, request, response, conn, opts...)
	}, nil)
}
