// Package echo is the handler that the end-to-end tests and benchmarks call.
package echo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
)

// Handler implements echopb.EchoHandler.
type Handler struct{}

var _ echopb.EchoHandler = Handler{}

// Unary returns its payload.
func (Handler) Unary(_ context.Context, req *echopb.Payload) (*echopb.Payload, error) {
	return req, nil
}

// Download sends count payloads of size bytes.
func (Handler) Download(req *echopb.DownloadRequest, stream grpc.ServerStreamingServer[echopb.Payload]) error {
	payload := &echopb.Payload{Data: make([]byte, req.GetSize())}
	for range req.GetCount() {
		if err := stream.Send(payload); err != nil {
			return err
		}
	}
	return nil
}

// Upload counts the received payloads.
func (Handler) Upload(stream grpc.ClientStreamingServer[echopb.Payload, echopb.UploadSummary]) error {
	var sum echopb.UploadSummary
	for {
		payload, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&sum)
		}
		if err != nil {
			return err
		}
		sum.Messages++
		sum.Bytes += int64(len(payload.GetData()))
	}
}

// Chat returns each payload as it comes.
func (Handler) Chat(stream grpc.BidiStreamingServer[echopb.Payload, echopb.Payload]) error {
	for {
		payload, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if string(payload.GetData()) == "panic" {
			panic("asked to panic in a stream")
		}
		if err := stream.Send(payload); err != nil {
			return err
		}
	}
}

// Fail fails in the way that the request names.
func (Handler) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	switch how := req.GetHow(); how {
	case "panic":
		panic("asked to panic")
	case "nil pointer":
		var req *echopb.Payload
		return &echopb.Payload{Data: req.Data}, nil //nolint:govet // that is how it goes wrong
	case "status":
		st, err := status.New(codes.FailedPrecondition, "not now").WithDetails(&errdetails.ErrorInfo{Reason: "TEST", Domain: "plugwire.example"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	case "unavailable":
		return nil, status.Error(codes.Unavailable, "busy with something else")
	case "crash":
		go func() { panic("crashed on demand") }()
		<-ctx.Done()
		return nil, ctx.Err()
	case "exit":
		fmt.Fprintln(os.Stderr, "leaving with code 7")
		os.Exit(7)
		return nil, nil
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "hang for good":
		select {}
	case "log":
		plugin.Logger(ctx).WarnContext(ctx, "a word from the handler", "number", 1<<53+1, "from", "echo")
		return &echopb.Payload{}, nil
	case "not serving":
		plugin.SetHealth(ctx, false)
		return &echopb.Payload{}, nil
	case "print":
		fmt.Println("printed on stdout")
		fmt.Fprintln(os.Stderr, "printed on stderr")
		return &echopb.Payload{}, nil
	default:
		return nil, status.Errorf(codes.InvalidArgument, "do not know how to fail by %q", how)
	}
}
