package differential

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // programs name it
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/protocol"
)

const (
	serviceName = "differential.Calls"
	// idKey is the key of the metadata by which a handler finds its call. Traces leave it
	// out.
	idKey = "differential-call"
)

// methods are the methods by their kinds.
var methods = map[string]string{
	"unary":  "/" + serviceName + "/Unary",
	"client": "/" + serviceName + "/Client",
	"server": "/" + serviceName + "/Server",
	"bidi":   "/" + serviceName + "/Bidi",
}

// service is what the handlers are methods of.
type service interface{ isService() }

type scriptedService struct{}

func (scriptedService) isService() {}

// serviceDesc has a method of each kind. The handlers do what the program of their call
// says.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*service)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: serveUnary}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Client", ClientStreams: true, Handler: serveStream},
		{StreamName: "Server", ServerStreams: true, Handler: serveStream},
		{StreamName: "Bidi", ClientStreams: true, ServerStreams: true, Handler: serveStream},
	},
}

var calls = protocol.New("differential", 1, &serviceDesc)

func serveUnary(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // grpc has this order
	req := new(testpb.Payload)
	if err := decode(req); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, req any) (any, error) {
		c := byContext(ctx)
		if c == nil {
			return nil, errUnknown
		}
		reply := new(testpb.Payload)
		err := c.serve(&handling{call: c, ctx: ctx, request: req.(*testpb.Payload), reply: reply})
		if err != nil {
			return nil, err
		}
		return reply, nil
	}
	if intercept == nil {
		return handle(ctx, req)
	}
	return intercept(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: methods["unary"]}, handle)
}

func serveStream(_ any, stream grpc.ServerStream) error {
	c := byContext(stream.Context())
	if c == nil {
		return errUnknown
	}
	return c.serve(&handling{call: c, ctx: stream.Context(), stream: stream})
}

var errUnknown = status.Error(codes.Internal, "the call is of no program")

// running are the calls of all running programs, by their id.
var running sync.Map // of *call

// byContext returns the call of a handler, or nil.
func byContext(ctx context.Context) *call {
	md, _ := metadata.FromIncomingContext(ctx)
	return byMetadata(md)
}

func byMetadata(md metadata.MD) *call {
	ids := md.Get(idKey)
	if len(ids) != 1 {
		return nil
	}
	c, _ := running.Load(ids[0])
	found, _ := c.(*call)
	return found
}

// payload returns a message of n bytes.
func payload(n int) *testpb.Payload {
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(i * 7)
	}
	return &testpb.Payload{Body: body}
}

// describe describes a message that was received.
func describe(p *testpb.Payload) string {
	n := len(p.GetBody())
	if !slices.Equal(p.GetBody(), payload(n).GetBody()) {
		return fmt.Sprintf("%d damaged bytes", n)
	}
	return fmt.Sprintf("%d bytes", n)
}

// reversingCodec is a codec that reverses the bytes of messages.
type reversingCodec struct{ encoding.CodecV2 }

const reversedName = "reversed"

// registerCodec makes servers find the codec by its name.
func registerCodec() { encoding.RegisterCodecV2(newReversed()) }

func newReversed() reversingCodec { return reversingCodec{encoding.GetCodecV2("proto")} }

// Name implements [encoding.CodecV2].
func (reversingCodec) Name() string { return reversedName }

// Marshal implements [encoding.CodecV2].
func (r reversingCodec) Marshal(v any) (mem.BufferSlice, error) {
	data, err := r.CodecV2.Marshal(v)
	return backwards(data), err
}

// Unmarshal implements [encoding.CodecV2].
func (r reversingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return r.CodecV2.Unmarshal(backwards(data), v)
}

func backwards(data mem.BufferSlice) mem.BufferSlice {
	b := slices.Clone(data.Materialize())
	slices.Reverse(b)
	return mem.BufferSlice{mem.SliceBuffer(b)}
}

// isFramework reports whether a key of metadata is the test's own.
func isFramework(key string) bool { return strings.HasPrefix(key, idKey) }
