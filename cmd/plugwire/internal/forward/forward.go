// Package forward passes calls on from one gRPC peer to another, without knowing their
// messages.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Call is a call that was passed on.
type Call struct {
	Method   string // pkg.Service/Method
	Duration time.Duration
	Err      error
}

// Target returns the peer that gets a call, whose context it is given.
type Target func(ctx context.Context) (grpc.ClientConnInterface, error)

// Service describes a service whose calls all go to the target. done gets each call
// when it has ended.
func Service(d protoreflect.ServiceDescriptor, to Target, done func(Call)) *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{ServiceName: string(d.FullName()), HandlerType: (*any)(nil), Metadata: d.ParentFile().Path()}
	for i := range d.Methods().Len() {
		m := d.Methods().Get(i)
		f := &forwarder{name: fmt.Sprintf("%s/%s", d.FullName(), m.Name()), to: to, done: done}
		if !m.IsStreamingClient() && !m.IsStreamingServer() {
			desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: string(m.Name()), Handler: f.unary})
			continue
		}
		f.desc = grpc.StreamDesc{StreamName: string(m.Name()), ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient()}
		registered := f.desc
		registered.Handler = f.stream
		desc.Streams = append(desc.Streams, registered)
	}
	return desc
}

// forwarder passes on the calls of one method. Messages are of type Empty: their fields
// are unknown to it, and protobuf keeps the bytes of unknown fields.
type forwarder struct {
	name string
	desc grpc.StreamDesc
	to   Target
	done func(Call)
}

func (f *forwarder) ended(begun time.Time, err error) {
	f.done(Call{f.name, time.Since(begun), err})
}

// unary is the handler of a unary method.
func (f *forwarder) unary(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is grpc's
	request := new(emptypb.Empty)
	if err := decode(request); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, request any) (_ any, err error) {
		begun := time.Now()
		defer func() { f.ended(begun, err) }()
		cc, err := f.to(ctx)
		if err != nil {
			return nil, err
		}
		var header, trailer metadata.MD
		answer := new(emptypb.Empty)
		err = cc.Invoke(outgoing(ctx), "/"+f.name, request, answer, grpc.Header(&header), grpc.Trailer(&trailer))
		// An error of these two means that the call has ended, which its caller knows.
		_ = grpc.SetHeader(ctx, own(header))
		_ = grpc.SetTrailer(ctx, own(trailer))
		return answer, err
	}
	if interceptor == nil {
		return handle(ctx, request)
	}
	return interceptor(ctx, request, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + f.name}, handle)
}

// stream is the handler of any other method.
func (f *forwarder) stream(_ any, in grpc.ServerStream) (err error) {
	begun := time.Now()
	defer func() { f.ended(begun, err) }()
	ctx, cancel := context.WithCancel(outgoing(in.Context()))
	defer cancel()
	cc, err := f.to(in.Context())
	if err != nil {
		return err
	}
	out, err := cc.NewStream(ctx, &f.desc, "/"+f.name)
	if err != nil {
		return err
	}
	go func() { // ends with the stream in, which ends when this function returns
		if err := requests(in, out); err != nil {
			cancel()
		}
	}()
	if header, headerErr := out.Header(); headerErr == nil {
		_ = in.SendHeader(own(header)) // an error means that the call has ended
	}
	err = f.answers(in, out)
	in.SetTrailer(own(out.Trailer()))
	return err
}

// requests passes on what the caller sends. It returns an error if the caller has gone.
func requests(in grpc.ServerStream, out grpc.ClientStream) error {
	for {
		request := new(emptypb.Empty)
		err := in.RecvMsg(request)
		switch {
		case errors.Is(err, io.EOF):
			_ = out.CloseSend() // an error is what the answers end with
			return nil
		case err != nil:
			return err
		case out.SendMsg(request) != nil:
			return nil //nolint:nilerr // the answers say why
		}
	}
}

// answers passes on what the target sends.
func (f *forwarder) answers(in grpc.ServerStream, out grpc.ClientStream) error {
	for {
		answer := new(emptypb.Empty)
		err := out.RecvMsg(answer)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := in.SendMsg(answer); err != nil {
			return err
		}
		if !f.desc.ServerStreams {
			return nil
		}
	}
}

// outgoing returns the context of a call to the target, with the caller's metadata and
// deadline.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	return metadata.NewOutgoingContext(ctx, own(md))
}

// own returns the metadata of the application, without that of gRPC.
func own(md metadata.MD) metadata.MD {
	kept := make(metadata.MD, len(md))
	for name, values := range md {
		if name[0] == ':' || strings.HasPrefix(name, "grpc-") || name == "content-type" || name == "user-agent" || name == "te" {
			continue
		}
		kept[name] = values
	}
	return kept
}
