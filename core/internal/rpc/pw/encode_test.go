package pw

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// oddMessage is a message that does what a test says when its size is asked for, and when it is
// encoded.
type oddMessage struct {
	proto.Message
	size    func() int
	marshal func() ([]byte, error)
}

func (m *oddMessage) ProtoReflect() protoreflect.Message {
	return &oddReflection{m.Message.ProtoReflect(), m}
}

type oddReflection struct {
	protoreflect.Message
	m *oddMessage
}

func (r *oddReflection) Interface() protoreflect.ProtoMessage { return r.m }

func (r *oddReflection) ProtoMethods() *protoiface.Methods {
	return &protoiface.Methods{
		Flags: protoiface.SupportMarshalDeterministic,
		Size: func(protoiface.SizeInput) protoiface.SizeOutput {
			return protoiface.SizeOutput{Size: r.m.size()}
		},
		Marshal: func(in protoiface.MarshalInput) (protoiface.MarshalOutput, error) {
			b, err := r.m.marshal()
			return protoiface.MarshalOutput{Buf: append(in.Buf, b...)}, err
		},
		CheckInitialized: func(protoiface.CheckInitializedInput) (protoiface.CheckInitializedOutput, error) {
			return protoiface.CheckInitializedOutput{}, nil
		},
	}
}

var errOdd = errors.New("the message cannot be encoded")

// oddMessages are messages whose encoding fails in some way. The status has a word.
func oddMessages() map[string]*oddMessage {
	of := func(size int, marshal func() ([]byte, error)) *oddMessage {
		return &oddMessage{new(request), func() int { return size }, marshal}
	}
	bytesOf := func(n int) func() ([]byte, error) {
		return func() ([]byte, error) {
			return proto.Marshal(&request{Payload: &testpb.Payload{Body: make([]byte, n)}})
		}
	}
	panics := func() ([]byte, error) { panic(errOdd) }
	fails := func() ([]byte, error) { return []byte("half"), errOdd }
	const large = smallMessage + 1000
	return map[string]*oddMessage{
		"panic at the size":          {new(request), func() int { panic(errOdd) }, panics},
		"panic in a small message":   of(10, panics),
		"panic in a large message":   of(large, panics),
		"error in a small message":   of(10, fails),
		"error in a large message":   of(large, fails),
		"a small message is smaller": of(1000, bytesOf(10)),
		"a small message is larger":  of(10, bytesOf(1000)),
		"a small message is large":   of(10, bytesOf(1<<20)),
		"a large message is small":   of(large, bytesOf(10)),
		"a large message is larger":  of(large, bytesOf(1<<20)),
	}
}

// recovered returns what f panics with, or nil.
func recovered(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

// assertOdd checks how a call ended whose message cannot be encoded.
func assertOdd(t *testing.T, value any, err error) {
	t.Helper()
	if value != nil && value != errOdd { //nolint:errorlint // the same value
		t.Errorf("a panic with %v, want %v", value, errOdd)
	}
	if value == nil && status.Code(err) != codes.Internal {
		t.Errorf("%v, want %v", err, codes.Internal)
	}
}

// connectTLS makes a pair on a connection with TLS, whose writes cannot be interrupted.
func connectTLS(tb testing.TB, atPlugin, atHost *service, change ...func(*calls.ServerConfig)) *pair {
	tb.Helper()
	ours, theirs := sockets(tb)
	return connectOn(tb, tls.Client(ours, &tls.Config{InsecureSkipVerify: true}),
		tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate(tb)}}), atPlugin, atHost, change...)
}

// onEachWriter is onEachMapping, and runs a test with TLS too.
func onEachWriter(t *testing.T, test func(t *testing.T, connect connector)) {
	t.Helper()
	onEachMapping(t, test)
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		test(t, connectTLS)
	})
}

// TestEncodingFailsAtTheCaller sends messages that cannot be encoded. A panic is the caller's, as
// with grpc-go. Each ends its own call, and the connection goes on.
func TestEncodingFailsAtTheCaller(t *testing.T) {
	t.Parallel()
	onEachWriter(t, testEncodingFailsAtTheCaller)
}

func testEncodingFailsAtTheCaller(t *testing.T, connect connector) {
	t.Helper()
	p := connect(t, &service{}, &service{})
	for name, m := range oddMessages() {
		var err error
		value := recovered(func() { err = p.host.Invoke(bounded(t), unaryName, m, new(response)) })
		t.Logf("%s: %v, %v", name, value, err)
		assertOdd(t, value, err)
		if _, err := p.toPlugin.UnaryCall(bounded(t), named("next")); err != nil {
			t.Fatalf("%s: the next call: %v", name, err)
		}

		ctx, cancel := context.WithCancel(bounded(t))
		stream, err := p.toPlugin.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		err = nil
		value = recovered(func() { err = stream.SendMsg(m) })
		assertOdd(t, value, err)
		if err := stream.Send(&testpb.StreamingOutputCallRequest{}); err == nil {
			_, err = stream.Recv() // the stream goes on after a panic at the size, as with grpc-go
			if err != nil {
				t.Errorf("%s: the stream goes on, and then: %v", name, err)
			}
		}
		cancel()
	}
	assertNothingLeft(t, p)
}

// assertNothingLeft checks that the sides of a pair hold nothing for calls that have ended.
func assertNothingLeft(t *testing.T, p *pair) {
	t.Helper()
	for _, c := range []*conn{p.host, p.plugin} {
		for deadline := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
			left := c.left()
			if left == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the %s still has %s", c.client.Side, left)
			}
		}
	}
}

// left describes what a side holds for calls.
func (c *conn) left() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left []string
	for name, n := range map[string]int64{
		"calls that it has made":   int64(len(c.made)),
		"calls that it serves":     int64(len(c.served)),
		"calls in flight":          int64(c.inFlight.Load()),
		"bytes of answers":         c.room.held.Load(),
		"windows of answers":       c.room.windows.Load(),
		"bytes of messages":        c.server.room.held.Load(),
		"windows of messages":      c.server.room.windows.Load(),
		"metadata":                 c.server.room.fields.Load(),
		"goroutines that wait":     boolToInt(c.waiting.first != nil),
		"tracks that carry a call": c.busyTracks(),
	} {
		if n != 0 {
			left = append(left, fmt.Sprintf("%d %s", n, name))
		}
	}
	return strings.Join(left, ", ")
}

func boolToInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// busyTracks returns how many tracks carry a call of this side. The caller holds mu.
func (c *conn) busyTracks() (n int64) {
	if c.tracks != nil {
		for l := range c.tracks.all {
			n += boolToInt(l.k != nil)
		}
	}
	return n
}

// TestEncodingFailsAtTheHandler answers with messages that cannot be encoded. The caller gets a
// status, the process goes on, and so does the connection.
func TestEncodingFailsAtTheHandler(t *testing.T) {
	t.Parallel()
	onEachWriter(t, testEncodingFailsAtTheHandler)
}

func testEncodingFailsAtTheHandler(t *testing.T, connect connector) {
	t.Helper()
	var answer atomic.Pointer[oddMessage]
	var panics atomic.Int32
	p := connect(t, &service{duplex: func(stream duplex) error { return stream.SendMsg(answer.Load()) }}, &service{},
		func(cfg *calls.ServerConfig) {
			cfg.OnPanic = func(context.Context, string, any, []byte) { panics.Add(1) }
			cfg.Unary = append(cfg.Unary, func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				resp, err := next(ctx, req)
				if m := answer.Load(); m != nil {
					return m, nil
				}
				return resp, err
			})
		})
	for range 2 * quickRuns { // the reader runs the handler itself
		if _, err := p.toPlugin.UnaryCall(bounded(t), named("first")); err != nil {
			t.Fatal(err)
		}
	}
	odd := oddMessages()
	for name, size := range map[string]int{"goexit in a small message": 10, "goexit in a large message": smallMessage + 1} {
		odd[name] = &oddMessage{new(request), func() int { return size }, func() ([]byte, error) {
			goruntime.Goexit()
			return nil, nil
		}}
	}
	for name, m := range odd {
		answer.Store(m)
		_, err := p.toPlugin.UnaryCall(bounded(t), named("odd"))
		t.Logf("%s: %v", name, err)
		assertOdd(t, nil, err)
		stream, err := p.toPlugin.FullDuplexCall(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		assertOdd(t, nil, err)
		answer.Store(nil)
		if _, err := p.toPlugin.UnaryCall(bounded(t), named("next")); err != nil {
			t.Fatalf("%s: the next call: %v", name, err)
		}
	}
	assertNothingLeft(t, p)
	// Three panic in each call. Two end the goroutine, which is reported of the stream's handler.
	eventually(t, "the panics are reported", func() bool { return panics.Load() == 3+3+2 })
}

// TestDecodingPanicsAtTheCaller decodes an answer into a message that panics. The panic is the
// caller's, and the call holds nothing.
func TestDecodingPanicsAtTheCaller(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		p := connect(t, &service{}, &service{})
		for range 3 {
			if value := recovered(func() {
				_ = p.host.Invoke(bounded(t), unaryName, &request{Payload: &testpb.Payload{Body: make([]byte, 200<<10)}}, panickingMessage{})
			}); value != errOdd { //nolint:errorlint // the same value
				t.Errorf("a panic with %v, want %v", value, errOdd)
			}
		}
		assertNothingLeft(t, p)
		if _, err := p.toPlugin.UnaryCall(bounded(t), named("next")); err != nil {
			t.Fatal(err)
		}
	})
}

type panickingMessage struct{}

func (panickingMessage) ProtoReflect() protoreflect.Message { panic(errOdd) }

// TestNilMessages sends no message, which grpc-go sends as an empty one.
func TestNilMessages(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		p := connect(t, &service{duplex: func(stream duplex) error {
			if m, err := stream.Recv(); err != nil || proto.Size(m) > 0 {
				return fmt.Errorf("%v, %w, want an empty message", m, err)
			}
			return stream.SendMsg(nil)
		}}, &service{},
			func(cfg *calls.ServerConfig) {
				cfg.Unary = append(cfg.Unary, func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
					return nil, nil //nolint:nilnil // that is tested
				})
			})
		if err := p.host.Invoke(bounded(t), unaryName, nil, new(response)); err != nil {
			t.Error(err)
		}
		if err := p.host.Invoke(bounded(t), unaryName, (*request)(nil), new(response)); err != nil {
			t.Error(err)
		}
		stream, err := p.toPlugin.FullDuplexCall(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(nil); err != nil {
			t.Error(err)
		}
		if m, err := stream.Recv(); err != nil || proto.Size(m) > 0 {
			t.Errorf("%v, %v, want an empty message", m, err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// TestTooMuchMetadataInHeaderAndTrailer sets more than both may have. The call ends, and the
// connection goes on.
func TestTooMuchMetadataInHeaderAndTrailer(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		much := metadata.Pairs("k", string(bytes.Repeat([]byte("x"), calls.MaxMetadata)))
		for _, failed := range []error{nil, status.Error(codes.Aborted, "no")} {
			p := connect(t, &service{unary: func(ctx context.Context, _ *request) (*response, error) {
				if err := grpc.SetHeader(ctx, much); err != nil {
					return nil, err
				}
				if err := grpc.SetTrailer(ctx, much); err != nil {
					return nil, err
				}
				return &response{}, failed
			}}, &service{})
			if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); status.Code(err) != codes.Internal {
				t.Errorf("%v, want %v", err, codes.Internal)
			}
			if p.host.Broken() {
				t.Error("the connection has ended")
			}
		}
	})
}

// TestCloseSendAfterAPanic says that no more messages come, after one that has panicked. The other
// side has got nothing of that message.
func TestCloseSendAfterAPanic(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		p := connect(t, &service{}, &service{})
		for _, name := range []string{"panic in a small message", "panic in a large message"} {
			stream, err := p.toPlugin.FullDuplexCall(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if value := recovered(func() { _ = stream.SendMsg(oddMessages()[name]) }); value == nil {
				t.Errorf("%s: no panic", name)
			}
			if err := stream.CloseSend(); err != nil {
				t.Error(err)
			}
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v, want %v", name, err, io.EOF)
			}
		}
		assertNothingLeft(t, p)
	})
}
