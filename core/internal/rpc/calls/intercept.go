package calls

import (
	"context"
	"slices"

	"google.golang.org/grpc"
)

// The functions here hide the framework's own methods from a user's interceptors. An
// interceptor that demands a token must not prevent the host from stopping the plugin.

// ApplicationUnary limits the interceptors to the application's calls: isControl
// reports which methods are the framework's own.
func ApplicationUnary(list []grpc.UnaryClientInterceptor, isControl func(fullMethod string) bool) []grpc.UnaryClientInterceptor {
	return each(list, func(intercept grpc.UnaryClientInterceptor) grpc.UnaryClientInterceptor {
		return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if isControl(method) {
				return next(ctx, method, req, reply, cc, opts...)
			}
			return intercept(ctx, method, req, reply, cc, next, opts...)
		}
	})
}

// ApplicationStream limits the interceptors to the application's streams, like
// [ApplicationUnary].
func ApplicationStream(list []grpc.StreamClientInterceptor, isControl func(fullMethod string) bool) []grpc.StreamClientInterceptor {
	return each(list, func(intercept grpc.StreamClientInterceptor) grpc.StreamClientInterceptor {
		return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if isControl(method) {
				return next(ctx, desc, cc, method, opts...)
			}
			return intercept(ctx, desc, cc, method, next, opts...)
		}
	})
}

func each[T any](list []T, wrap func(T) T) []T {
	wrapped := make([]T, len(list))
	for i, x := range list {
		wrapped[i] = wrap(x)
	}
	return wrapped
}

// ChainUnaryClient returns next with the interceptors around it, the first outermost.
func ChainUnaryClient(list []grpc.UnaryClientInterceptor, next grpc.UnaryInvoker) grpc.UnaryInvoker {
	for _, intercept := range slices.Backward(list) {
		inner := next
		next = func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			return intercept(ctx, method, req, reply, cc, inner, opts...)
		}
	}
	return next
}

// ChainStreamClient returns next with the interceptors around it, the first outermost.
func ChainStreamClient(list []grpc.StreamClientInterceptor, next grpc.Streamer) grpc.Streamer {
	for _, intercept := range slices.Backward(list) {
		inner := next
		next = func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return intercept(ctx, desc, cc, method, inner, opts...)
		}
	}
	return next
}
