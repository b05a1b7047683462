// Package matrix has the handlers of the plugin of the cross-transport tests.
package matrix

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrixpb"
	"github.com/plugwire/plugwire/core/protocol"
)

// Protocol has the service of the other tests, and one that shows the state of
// the process.
var Protocol = protocol.New("plugwire.e2e.matrix", 1, &echopb.Echo_ServiceDesc, &matrixpb.Matrix_ServiceDesc)

// Serve binds the handlers of both.
func Serve() protocol.Binding {
	return protocol.Join(
		protocol.Bind(Protocol, echoServer{}),
		protocol.Bind(Protocol, &server{
			ended: make(chan error, maxHolding),
			open:  make(chan struct{}),
		}),
	)
}

// maxHolding is more than the waiting calls of any test.
const maxHolding = 1000

type echoServer struct {
	echo.Handler
	echopb.UnsafeEchoServer
}

type server struct {
	matrixpb.UnsafeMatrixServer

	holding atomic.Int32
	moved   atomic.Int64
	ended   chan error    // why the contexts of Wait and Hold have ended
	open    chan struct{} // opens a Dam
}

var _ matrixpb.MatrixServer = (*server)(nil)

func (*server) Mirror(ctx context.Context, req *matrixpb.Chunk) (*matrixpb.Chunk, error) {
	md := mirrored(ctx)
	if err := errors.Join(grpc.SetHeader(ctx, md), grpc.SetTrailer(ctx, md)); err != nil {
		return nil, err
	}
	if string(req.GetData()) == "fail" {
		return nil, status.Error(codes.FailedPrecondition, "asked to fail")
	}
	return req, nil
}

func mirrored(ctx context.Context) metadata.MD {
	md := metadata.MD{}
	incoming, _ := metadata.FromIncomingContext(ctx) // each call has some
	for name, values := range incoming {
		if strings.HasPrefix(name, "x-") {
			md[name] = values
		}
	}
	return md
}

func (*server) Reverse(stream grpc.BidiStreamingServer[matrixpb.Chunk, matrixpb.Chunk]) error {
	md := mirrored(stream.Context())
	if err := stream.SendHeader(md); err != nil {
		return err
	}
	stream.SetTrailer(md)
	var chunks []*matrixpb.Chunk
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if string(chunk.GetData()) == "enough" {
			return status.Error(codes.ResourceExhausted, "that is enough")
		}
		chunks = append(chunks, chunk)
	}
	for _, chunk := range slices.Backward(chunks) {
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) Wait(ctx context.Context, _ *matrixpb.Empty) (*matrixpb.Empty, error) {
	return nil, s.hold(ctx)
}

func (s *server) Hold(_ *matrixpb.Empty, stream grpc.ServerStreamingServer[matrixpb.Remaining]) error {
	var remaining time.Duration
	if deadline, ok := stream.Context().Deadline(); ok {
		remaining = time.Until(deadline)
	}
	if err := stream.Send(&matrixpb.Remaining{Milliseconds: remaining.Milliseconds()}); err != nil {
		return err
	}
	return s.hold(stream.Context())
}

func (s *server) hold(ctx context.Context) error {
	s.holding.Add(1)
	<-ctx.Done()
	s.holding.Add(-1)
	s.ended <- ctx.Err()
	return status.FromContextError(ctx.Err()).Err()
}

func (s *server) Ended(ctx context.Context, _ *matrixpb.Empty) (*matrixpb.Ending, error) {
	select {
	case err := <-s.ended:
		return &matrixpb.Ending{Reason: err.Error()}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (s *server) Flood(req *matrixpb.Order, stream grpc.ServerStreamingServer[matrixpb.Chunk]) error {
	chunk := &matrixpb.Chunk{Data: make([]byte, req.GetSize())}
	for range req.GetCount() {
		if err := stream.Send(chunk); err != nil {
			return err
		}
		s.moved.Add(int64(req.GetSize()))
	}
	return nil
}

func (s *server) Dam(stream grpc.ClientStreamingServer[matrixpb.Chunk, matrixpb.State]) error {
	select {
	case <-s.open:
	case <-stream.Context().Done():
		return status.FromContextError(stream.Context().Err()).Err()
	}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(s.state())
		}
		if err != nil {
			return err
		}
		s.moved.Add(int64(len(chunk.GetData())))
	}
}

func (s *server) Open(ctx context.Context, _ *matrixpb.Empty) (*matrixpb.Empty, error) {
	select {
	case s.open <- struct{}{}:
		return &matrixpb.Empty{}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (s *server) Look(context.Context, *matrixpb.Empty) (*matrixpb.State, error) {
	return s.state(), nil
}

func (s *server) state() *matrixpb.State {
	return &matrixpb.State{
		Holding: s.holding.Load(), Moved: s.moved.Load(),
		Heap: Heap(), Goroutines: int32(runtime.NumGoroutine()),
	}
}

// Heap returns how many bytes of the heap are in use.
func Heap() uint64 {
	runtime.GC()
	runtime.GC() // the second collection empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
