package h2_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestLargeHeaders sends headers that are larger than allowed, in each direction. The call
// ends, and the connection lives on.
func TestLargeHeaders(t *testing.T) {
	text := strings.Repeat("ä", 1<<20) // twice as much as a status may have
	var answer func(ctx context.Context) error
	p := connect(t, &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{}, answer(ctx)
	}})
	large := metadata.Pairs("large", strings.Repeat("a", 17<<20))
	withDetails := func(message string) error {
		s, err := status.New(codes.NotFound, message).WithDetails(&testpb.EchoStatus{Message: text})
		return errors.Join(err, s.Err())
	}
	for _, tt := range []struct {
		name   string
		md     metadata.MD // of the call
		answer func(ctx context.Context) error
		code   codes.Code
		says   []string
	}{
		{name: "text", code: codes.NotFound, says: []string{"ä (and ", " more bytes"}, answer: func(context.Context) error { return status.Error(codes.NotFound, text) }},
		{name: "text of an error", code: codes.Unknown, says: []string{"ä (and "}, answer: func(context.Context) error { return errors.New(text) }},
		{name: "text of a panic", code: codes.Internal, says: []string{"panic in the handler", "ä (and "}, answer: func(context.Context) error { panic(text) }},
		{name: "text that is cut within a letter", code: codes.NotFound, says: []string{"ä (and "}, answer: func(context.Context) error { return status.Error(codes.NotFound, "a"+text) }},
		{name: "details", code: codes.NotFound, says: []string{"no such thing (without its details"}, answer: func(context.Context) error { return withDetails("no such thing") }},
		{name: "text and details", code: codes.NotFound, says: []string{"ä (and ", "(without its details"}, answer: func(context.Context) error { return withDetails(text) }},
		{name: "header", code: codes.Internal, answer: func(ctx context.Context) error { return grpc.SendHeader(ctx, large) }},
		{name: "trailer", code: codes.Internal, answer: func(ctx context.Context) error { return grpc.SetTrailer(ctx, large) }},
		{name: "metadata of the call", md: metadata.Pairs("large", strings.Repeat("a", 1<<20)), code: codes.Internal, says: []string{"maximum size"}, answer: func(context.Context) error { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer = tt.answer
			_, err := p.UnaryCall(metadata.NewOutgoingContext(bounded(t), tt.md), &testpb.SimpleRequest{})
			s := status.Convert(err)
			if s.Code() != tt.code {
				t.Errorf("code %v, want %v: %.200s", s.Code(), tt.code, s.Message())
			}
			for _, part := range tt.says {
				if !strings.Contains(s.Message(), part) {
					t.Errorf("%q is not in %.200s ... %s", part, s.Message(), s.Message()[max(0, len(s.Message())-200):])
				}
			}
			answer = func(context.Context) error { return nil }
			if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
				t.Fatalf("the next call: %.200v", err)
			}
		})
	}
}

// TestDeadlineText checks the text for a deadline that the other side saw pass first, which
// is chance. It is the same as for any deadline.
func TestDeadlineText(t *testing.T) {
	p := connect(t, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return nil, status.Error(codes.DeadlineExceeded, "stream terminated by RST_STREAM with error code: CANCEL")
	}})
	_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.DeadlineExceeded || s.Message() != "context deadline exceeded" {
		t.Errorf("the call gives %v, want the text of a deadline", err)
	}
}
