//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/matrixpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// matrixPlugin is a plugin of the cross-transport tests, with its clients.
type matrixPlugin struct {
	*host.Plugin
	echopb.EchoClient
	matrix matrixpb.MatrixClient
}

// launchMatrix starts the plugin of the cross-transport tests: name is one of ways.Names or
// of ways.Wired.
func launchMatrix(tb testing.TB, name string) *matrixPlugin {
	tb.Helper()
	return launchMatrixCmd(tb, command("matrix-plugin"), ways.Options(name)...)
}

func launchMatrixCmd(tb testing.TB, cmd *exec.Cmd, opts ...host.Option) *matrixPlugin {
	tb.Helper()
	p := launch(tb, cmd, append([]host.Option{host.WithProtocols(matrix.Protocol)}, opts...)...)
	return &matrixPlugin{p, echopb.NewEchoClient(p), matrixpb.NewMatrixClient(p)}
}

// look returns the state of the plugin's process.
func (p *matrixPlugin) look(tb testing.TB) *matrixpb.State {
	tb.Helper()
	state, err := p.matrix.Look(testContext(tb), &matrixpb.Empty{})
	if err != nil {
		tb.Fatal(err)
	}
	return state
}

// ended waits for the end of a handler that waits for its context, and returns
// the reason.
func (p *matrixPlugin) ended(tb testing.TB) string {
	tb.Helper()
	ending, err := p.matrix.Ended(testContext(tb), &matrixpb.Empty{})
	if err != nil {
		tb.Fatalf("the end of a handler: %v", err)
	}
	return ending.GetReason()
}

// collect reads a stream to its end.
func collect[T any](stream grpc.ServerStreamingClient[T]) (all []*T, err error) {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, message)
	}
}

// payloads has all sizes that matter: empty, less than a packet and about as
// much, as much as a frame, and more than the windows of a stream.
func payloads() (all [][]byte) {
	for i, size := range []int{0, 1, 1200, 1 << 14, 1<<16 + 1, 3 << 20} {
		all = append(all, bytes.Repeat([]byte{byte('a' + i)}, size))
	}
	return all
}

func TestAllKindsOfCalls(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launchMatrix(t, name)
			callUnary(t, p)
			download(t, p)
			upload(t, p)
			chat(t, p)
		})
	}
}

func callUnary(t *testing.T, p *matrixPlugin) {
	t.Helper()
	for _, data := range payloads() {
		if got, err := p.Unary(testContext(t), &echopb.Payload{Data: data}); err != nil || !bytes.Equal(got.GetData(), data) {
			t.Errorf("unary, %d bytes: got %d, %v", len(data), len(got.GetData()), err)
		}
	}
}

func download(t *testing.T, p *matrixPlugin) {
	t.Helper()
	const count, size = 100, 10_000
	stream, err := p.Download(testContext(t), &echopb.DownloadRequest{Count: count, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	all, err := collect(stream)
	if err != nil || len(all) != count {
		t.Errorf("server streaming: got %d messages, %v", len(all), err)
	}
	for _, message := range all {
		if len(message.GetData()) != size {
			t.Errorf("server streaming: got a message of %d bytes", len(message.GetData()))
		}
	}
}

func upload(t *testing.T, p *matrixPlugin) {
	t.Helper()
	stream, err := p.Upload(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	want := &echopb.UploadSummary{}
	for _, data := range payloads() {
		if err := stream.Send(&echopb.Payload{Data: data}); err != nil {
			t.Fatal(err)
		}
		want.Messages++
		want.Bytes += int64(len(data))
	}
	if got, err := stream.CloseAndRecv(); err != nil || !proto.Equal(got, want) {
		t.Errorf("client streaming: got %v, %v; want %v", got, err, want)
	}
}

func chat(t *testing.T, p *matrixPlugin) {
	t.Helper()
	stream, err := p.Chat(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range payloads() {
		if err := stream.Send(&echopb.Payload{Data: data}); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Recv(); err != nil || !bytes.Equal(got.GetData(), data) {
			t.Fatalf("bidirectional, %d bytes: got %d, %v", len(data), len(got.GetData()), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("bidirectional, the end: %v", err)
	}
}

// TestHalfClose ends one direction of a stream while the other is still used.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launchMatrix(t, name)
			stream, err := p.matrix.Reverse(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 50 {
				chunk := bytes.Repeat([]byte{byte(i)}, 1000*i)
				want = append(want, string(chunk))
				if err := stream.Send(&matrixpb.Chunk{Data: chunk}); err != nil {
					t.Fatal(err)
				}
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			chunks, err := collect(stream) // there are no answers before the plugin has seen the end
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, chunk := range slices.Backward(chunks) {
				got = append(got, string(chunk.GetData()))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %d chunks that are not the %d that were sent", len(got), len(want))
			}

			// The plugin ends the call before its caller, which notices it in the
			// middle.
			stream, err = p.matrix.Reverse(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&matrixpb.Chunk{Data: []byte("enough")}); err != nil {
				t.Fatal(err)
			}
			for err = nil; err == nil; {
				err = stream.Send(&matrixpb.Chunk{Data: make([]byte, 1000)})
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("a chunk for a handler that has returned: %v, want %v", err, io.EOF)
			}
			if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "that is enough" {
				t.Errorf("the end: %v", err)
			}
		})
	}
}

// TestCancellation checks that the handlers of cancelled calls notice the
// cancellation.
func TestCancellation(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launchMatrix(t, name)
			assertEnded := func() {
				t.Helper()
				if got := p.ended(t); got != context.Canceled.Error() {
					t.Errorf("the context of the handler ended with %q", got)
				}
			}

			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			outcome := make(chan error, 1)
			go func() {
				_, err := p.matrix.Wait(ctx, &matrixpb.Empty{})
				outcome <- err
			}()
			eventually(t, hang, func() string {
				if p.look(t).GetHolding() != 1 {
					return "the handler has not begun"
				}
				return ""
			})
			cancel()
			if err := waitFor(t, "the unary call", outcome); status.Code(err) != codes.Canceled {
				t.Errorf("the unary call: %v", err)
			}
			assertEnded()

			// Every other one of many streams is cancelled.
			const count = 20
			var streams []grpc.ServerStreamingClient[matrixpb.Remaining]
			var cancels []context.CancelFunc
			for range count {
				ctx, cancel := context.WithCancel(testContext(t))
				defer cancel()
				stream, err := p.matrix.Hold(ctx, &matrixpb.Empty{})
				if err != nil {
					t.Fatal(err)
				}
				if first, err := stream.Recv(); err != nil || first.GetMilliseconds() > hang.Milliseconds() {
					t.Fatalf("the first message: %v, %v", first, err)
				}
				streams, cancels = append(streams, stream), append(cancels, cancel)
			}
			for _, parity := range []int{0, 1} {
				for i := parity; i < count; i += 2 {
					cancels[i]()
					if _, err := streams[i].Recv(); status.Code(err) != codes.Canceled {
						t.Errorf("stream %d: %v", i, err)
					}
					assertEnded()
				}
				eventually(t, hang, func() string {
					if got := p.look(t).GetHolding(); int(got) != count/2*(1-parity) {
						return fmt.Sprintf("%d handlers are left of %d", got, count)
					}
					return ""
				})
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = shortDeadline
			p := launchMatrix(t, name)
			// The handler's context ends by the deadline on its own clock or by
			// the caller's cancellation, whichever comes first.
			assertEnded := func() {
				t.Helper()
				if got := p.ended(t); got != context.DeadlineExceeded.Error() && got != context.Canceled.Error() {
					t.Errorf("the context of the handler ended with %q", got)
				}
			}

			ctx, cancel := context.WithTimeout(testContext(t), limit)
			defer cancel()
			if _, err := p.matrix.Wait(ctx, &matrixpb.Empty{}); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the unary call: %v", err)
			}
			assertEnded()

			ctx, cancel = context.WithTimeout(testContext(t), limit)
			defer cancel()
			stream, err := p.matrix.Hold(ctx, &matrixpb.Empty{})
			if err != nil {
				t.Fatal(err)
			}
			if first, err := stream.Recv(); err != nil || first.GetMilliseconds() < 1 || first.GetMilliseconds() > limit.Milliseconds() {
				t.Errorf("the handler has %d ms of %v, %v", first.GetMilliseconds(), limit, err)
			}
			if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the stream: %v", err)
			}
			assertEnded()

			ctx, cancel = context.WithDeadline(testContext(t), time.Now())
			defer cancel()
			if _, err := p.Unary(ctx, &echopb.Payload{}); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("a call whose time has passed: %v", err)
			}
		})
	}
}

// TestMetadata sends metadata of all forms and gets it back, as header and as
// trailer.
func TestMetadata(t *testing.T) {
	t.Parallel()
	var everyByte [256]byte
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	want := metadata.MD{
		"x-text":  {"one", "two", ""},
		"x-a-bin": {string(everyByte[:]), "\x00"},
		"x-long":  {string(bytes.Repeat([]byte("long "), 1000)) + "."}, // a space at the end would be cut off
	}
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launchMatrix(t, name)
			ctx := metadata.NewOutgoingContext(testContext(t), want)
			assertMirrored := func(what string, got metadata.MD) {
				t.Helper()
				if diff := cmp.Diff(want, mirrored(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			for word, code := range map[string]codes.Code{"succeed": codes.OK, "fail": codes.FailedPrecondition} {
				var header, trailer metadata.MD
				_, err := p.matrix.Mirror(ctx, &matrixpb.Chunk{Data: []byte(word)}, grpc.Header(&header), grpc.Trailer(&trailer))
				if status.Code(err) != code {
					t.Errorf("a call that must %s: %v", word, err)
				}
				assertMirrored("header of a call that must "+word, header)
				assertMirrored("trailer of a call that must "+word, trailer)
			}

			stream, err := p.matrix.Reverse(ctx)
			if err != nil {
				t.Fatal(err)
			}
			header, err := stream.Header() // comes before anything is sent
			if err != nil {
				t.Fatal(err)
			}
			assertMirrored("header of the stream", header)
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if all, err := collect(stream); err != nil || len(all) != 0 {
				t.Errorf("the stream: %v, %v", all, err)
			}
			assertMirrored("trailer of the stream", stream.Trailer())
		})
	}
}

func mirrored(md metadata.MD) metadata.MD {
	got := metadata.MD{}
	for name, values := range md {
		if name[:2] == "x-" {
			got[name] = values
		}
	}
	return got
}
