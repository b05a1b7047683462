package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

// fakeClient answers with its function.
type fakeClient struct {
	example.DataProcessorClient
	answer func(ctx context.Context, data string) (string, error)
}

// ProcessData implements example.DataProcessorClient.
func (f fakeClient) ProcessData(ctx context.Context, request *example.ProcessRequest, _ ...grpc.CallOption) (*example.ProcessResponse, error) {
	result, err := f.answer(ctx, request.GetData())
	return &example.ProcessResponse{Result: result}, err
}

// Later calls that end first do not change the order of the results.
func TestResultsKeepTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text, printed strings.Builder
		for i := range 3 * maxCalls {
			fmt.Fprintf(&text, "%d\n", i)
		}
		client := fakeClient{answer: func(_ context.Context, data string) (string, error) {
			if strings.HasSuffix(data, "0\n") {
				time.Sleep(time.Second)
			}
			return data, nil
		}}
		if err := processLines(t.Context(), &printed, client, text.String()); err != nil || printed.String() != text.String() {
			t.Errorf("error %v, printed %q", err, printed.String())
		}
	})
}

func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int64
		release := make(chan struct{})
		client := fakeClient{answer: func(_ context.Context, data string) (string, error) {
			started.Add(1)
			<-release
			return data, nil
		}}
		ended := make(chan error)
		go func() { ended <- processLines(t.Context(), io.Discard, client, strings.Repeat("x\n", 3*maxCalls)) }()
		synctest.Wait()
		if n := started.Load(); n != maxCalls {
			t.Errorf("%d calls are under way, want %d", n, maxCalls)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The first line that fails ends the work. The results before it are printed, and no call goes on.
func TestFirstErrorEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var printed strings.Builder
		client := fakeClient{answer: func(ctx context.Context, data string) (string, error) {
			switch data {
			case "bad\n":
				return "", status.Error(codes.InvalidArgument, "not good")
			case "endless\n":
				<-ctx.Done()
				return "", ctx.Err()
			}
			time.Sleep(time.Second) // longer than the lines that follow
			return data, nil
		}}
		err := processLines(t.Context(), &printed, client, "a\nb\nbad\nc\nendless\n")
		if status.Code(err) != codes.InvalidArgument || printed.String() != "a\nb\n" {
			t.Errorf("error %v, printed %q", err, printed.String())
		}
	})
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := fakeClient{answer: func(ctx context.Context, _ string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}}
	if err := processLines(ctx, io.Discard, client, strings.Repeat("x\n", 3*maxCalls)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}
