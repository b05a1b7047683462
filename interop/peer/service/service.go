// Package service is the gRPC service that the tests of interoperability call,
// interop.v1.Interop. It is described by hand, and its messages are from
// protobuf itself, because generated code would not compile with the grpc and
// the protobuf of the oldest tested release.
package service

import (
	"context"

	"github.com/golang/protobuf/ptypes/empty"
	"github.com/golang/protobuf/ptypes/wrappers"
	"google.golang.org/grpc"
)

// Name is the name of the service.
const Name = "interop.v1.Interop"

// Handler serves the service in a plugin.
type Handler interface {
	Echoer
	// Count sends the numbers below n.
	Count(n uint32, send func(uint32) error) error
	// Version returns the protocol version that the handler was bound to.
	Version() uint32
	// Print writes text to the standard output and to the standard error of the
	// process, to each with the stream's name before it.
	Print(text string) error
	// Log logs LogMessage as a warning, with text as the field LogField.
	Log(ctx context.Context, text string)
	// CallHost calls Echo of the host under a broker's id, and returns the
	// answer.
	CallHost(ctx context.Context, id uint32) (string, error)
	// ServeBack serves Echo under a broker's id, which it returns, until
	// StopServing is called.
	ServeBack(ctx context.Context) (uint32, error)
	// StopServing stops what is served under an id. It returns when the server
	// is gone.
	StopServing(id uint32)
}

// Echoer is the one method that is also served through a broker.
type Echoer interface {
	Echo(data []byte) []byte
}

// Log logs this message, with this field.
const (
	LogMessage = "something to log"
	LogField   = "text"
)

// Desc describes the service of a plugin, whose handler is a [Handler].
var Desc = grpc.ServiceDesc{
	ServiceName: Name,
	HandlerType: (*Handler)(nil),
	Methods: []grpc.MethodDesc{
		echo,
		unary("Version", func(_ context.Context, h Handler, _ *empty.Empty) (*wrappers.UInt32Value, error) {
			return &wrappers.UInt32Value{Value: h.Version()}, nil
		}),
		unary("Print", func(_ context.Context, h Handler, req *wrappers.StringValue) (*empty.Empty, error) {
			return &empty.Empty{}, h.Print(req.GetValue())
		}),
		unary("Log", func(ctx context.Context, h Handler, req *wrappers.StringValue) (*empty.Empty, error) {
			h.Log(ctx, req.GetValue())
			return &empty.Empty{}, nil
		}),
		unary("CallHost", func(ctx context.Context, h Handler, req *wrappers.UInt32Value) (*wrappers.StringValue, error) {
			text, err := h.CallHost(ctx, req.GetValue())
			return &wrappers.StringValue{Value: text}, err
		}),
		unary("ServeBack", func(ctx context.Context, h Handler, _ *empty.Empty) (*wrappers.UInt32Value, error) {
			id, err := h.ServeBack(ctx)
			return &wrappers.UInt32Value{Value: id}, err
		}),
		unary("StopServing", func(_ context.Context, h Handler, req *wrappers.UInt32Value) (*empty.Empty, error) {
			h.StopServing(req.GetValue())
			return &empty.Empty{}, nil
		}),
	},
	Streams: []grpc.StreamDesc{{
		StreamName:    count,
		ServerStreams: true,
		Handler: func(srv any, stream grpc.ServerStream) error {
			var req wrappers.UInt32Value
			if err := stream.RecvMsg(&req); err != nil {
				return err
			}
			return srv.(Handler).Count(req.GetValue(), func(n uint32) error {
				return stream.SendMsg(&wrappers.UInt32Value{Value: n})
			})
		},
	}},
}

// EchoDesc describes the service that is served through a broker. Its handler
// is an [Echoer].
var EchoDesc = grpc.ServiceDesc{
	ServiceName: Name,
	HandlerType: (*Echoer)(nil),
	Methods:     []grpc.MethodDesc{echo},
}

const count = "Count"

var echo = unary("Echo", func(_ context.Context, h Echoer, req *wrappers.BytesValue) (*wrappers.BytesValue, error) {
	return &wrappers.BytesValue{Value: h.Echo(req.GetValue())}, nil
})

func fullName(method string) string { return "/" + Name + "/" + method }

// unary is the code that protoc-gen-go-grpc would generate for a unary method.
func unary[H, Req, Resp any](name string, call func(context.Context, H, *Req) (*Resp, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			req := new(Req)
			if err := decode(req); err != nil {
				return nil, err
			}
			handle := func(ctx context.Context, req any) (any, error) { return call(ctx, srv.(H), req.(*Req)) }
			if interceptor == nil {
				return handle(ctx, req)
			}
			return interceptor(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: fullName(name)}, handle)
		},
	}
}
