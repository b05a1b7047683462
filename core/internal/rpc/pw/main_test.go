package pw

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang is the time after which a test says that what it waits for never came.
const hang = 2 * time.Minute

const (
	unaryName  = "/grpc.testing.TestService/UnaryCall"
	duplexName = "/grpc.testing.TestService/FullDuplexCall"
)

type (
	request  = testpb.SimpleRequest
	response = testpb.SimpleResponse
	duplex   = grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]
)

// service answers as its test says.
type service struct {
	testpb.UnimplementedTestServiceServer
	unary  func(ctx context.Context, req *request) (*response, error)
	empty  func(ctx context.Context) error
	duplex func(stream duplex) error
}

func (s *service) UnaryCall(ctx context.Context, req *request) (*response, error) {
	if s.unary == nil {
		return &response{Payload: req.GetPayload()}, nil
	}
	return s.unary(ctx, req)
}

func (s *service) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	if s.empty != nil {
		if err := s.empty(ctx); err != nil {
			return nil, err
		}
	}
	return &testpb.Empty{}, nil
}

func (s *service) FullDuplexCall(stream duplex) error {
	if s.duplex == nil {
		return echo(stream)
	}
	return s.duplex(stream)
}

func echo(stream duplex) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			if err == io.EOF { //nolint:errorlint // it is never wrapped
				return nil
			}
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func clientConfig(side, other string) calls.ClientConfig {
	return calls.ClientConfig{
		Side: side, Other: other, MaxMessageSize: calls.DefaultMaxMessageSize,
		IsControl: func(method string) bool { return strings.HasPrefix(method, "/grpc.health.") },
	}
}

func serverConfig(side, other string, svc *service) calls.ServerConfig {
	return calls.ServerConfig{
		Side: side, Other: other, MaxMessageSize: calls.DefaultMaxMessageSize,
		IsControl: func(method string) bool { return strings.HasPrefix(method, "/grpc.health.") },
		Application: func(r grpc.ServiceRegistrar) error {
			testpb.RegisterTestServiceServer(r, svc)
			return nil
		},
		Control: func(r calls.Registrar) { healthpb.RegisterHealthServer(r, healthpb.UnimplementedHealthServer{}) },
		OnPanic: func(context.Context, string, any, []byte) {},
	}
}

// plainStream returns a stream on which nothing was authenticated.
func plainStream(conn net.Conn) *session.Stream {
	return &session.Stream{Conn: conn, Info: secure.Info{Security: handshake.SecurityNone, UID: -1}}
}

// sockets returns both ends of a loopback connection.
func sockets(tb testing.TB) (ours, theirs net.Conn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	if ours, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if theirs, err = ln.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	return ours, theirs
}

// pair is a host and a plugin on one connection. Each serves the other.
type pair struct {
	host, plugin *conn
	toPlugin     testpb.TestServiceClient
	toHost       testpb.TestServiceClient
}

// connect makes a pair. atHost and atPlugin are what the sides serve.
func connect(tb testing.TB, atPlugin, atHost *service, change ...func(*calls.ServerConfig)) *pair {
	tb.Helper()
	ours, theirs := sockets(tb)
	return connectOn(tb, ours, theirs, atPlugin, atHost, change...)
}

func connectOn(tb testing.TB, ours, theirs net.Conn, atPlugin, atHost *service, change ...func(*calls.ServerConfig)) *pair {
	tb.Helper()
	p := &pair{
		host:   endpoint(tb, ours, "host", "plugin", atHost, 1, change...),
		plugin: endpoint(tb, theirs, "plugin", "host", atPlugin, 2, change...),
	}
	p.toPlugin, p.toHost = testpb.NewTestServiceClient(p.host), testpb.NewTestServiceClient(p.plugin)
	return p
}

// endpoint is one side of a connection, which ends with the test.
func endpoint(tb testing.TB, on net.Conn, side, other string, svc *service, first uint32, change ...func(*calls.ServerConfig)) *conn {
	tb.Helper()
	cfg := serverConfig(side, other, svc)
	for _, f := range change {
		f(&cfg)
	}
	s, err := newServer(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	c := newConn(plainStream(on), clientConfig(side, other), s, first)
	s.add(c)
	tb.Cleanup(func() {
		c.Close()
		s.Close()
		select {
		case <-s.handlers.wait():
		case <-time.After(hang):
			tb.Errorf("handlers of the %s go on after its end", side)
		}
	})
	return c
}

func bounded(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), hang)
	tb.Cleanup(cancel)
	return ctx
}

func receive[T any](tb testing.TB, what string, ch <-chan T) (value T) {
	tb.Helper()
	select {
	case value = <-ch:
	case <-time.After(hang):
		tb.Fatalf("%s: nothing after %v", what, hang)
	}
	return value
}

// eventually returns when is reports true.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not after %v", what, hang)
		}
	}
}

// heap returns the memory that is in use, without the headroom.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	room := headroom.memory.Load()
	runtime.GC() // what was dropped is free then
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(room)
	if room != nil {
		return int64(m.HeapAlloc) - headroomSize
	}
	return int64(m.HeapAlloc)
}

// peer speaks the wire by hand, as the host or the plugin of a real endpoint.
type rawPeer struct {
	t    testing.TB
	conn net.Conn
	real *conn
}

// against returns a peer of a real plugin (which has even numbers), or of a real host.
func against(tb testing.TB, side string, svc *service, change ...func(*calls.ServerConfig)) *rawPeer {
	tb.Helper()
	ours, theirs := sockets(tb)
	other, first := "host", uint32(2)
	if side == "host" {
		other, first = "plugin", 1
	}
	return &rawPeer{tb, ours, endpoint(tb, theirs, side, other, svc, first, change...)}
}

func encoded(k kind, id uint32, payload ...byte) []byte {
	b := make([]byte, headerLen, headerLen+len(payload))
	putHeader(b, k, id, len(payload))
	return append(b, payload...)
}

// send writes a frame. It reports false if the other side has ended the connection, or does
// not read for as long as patience.
func (p *rawPeer) send(k kind, id uint32, payload ...byte) bool {
	return p.write(encoded(k, id, payload...), hang)
}

func (p *rawPeer) write(b []byte, patience time.Duration) bool {
	p.t.Helper()
	if err := p.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	_, err := p.conn.Write(b)
	return err == nil
}

// open begins a call, with what more says after the name of the method.
func (p *rawPeer) open(id uint32, method string, flags byte, more ...byte) bool {
	return p.send(frameOpen, id, append(openPayload(method, flags), more...)...)
}

func openPayload(method string, flags byte) []byte {
	return appendString([]byte{openNewMethod | flags, 0}, method)
}

// next reads a frame. ok is false at the end of the connection.
func (p *rawPeer) next() (f frame, ok bool) {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(hang)); err != nil {
		p.t.Fatal(err)
	}
	header := make([]byte, headerLen)
	if _, err := io.ReadFull(p.conn, header); err != nil {
		return f, false
	}
	k, id, n := parseHeader(header)
	payload := make([]byte, n)
	if _, err := io.ReadFull(p.conn, payload); err != nil {
		return f, false
	}
	return frame{k, id, payload}, true
}

// endOf reads until a call ends, and returns its status.
func (p *rawPeer) endOf(id uint32) *status.Status {
	p.t.Helper()
	for {
		f, ok := p.next()
		if !ok {
			p.t.Fatal("the connection ended")
		}
		if f.kind == frameEnd && f.id == id {
			return endStatusOf(p.t, f.payload)
		}
	}
}

func endStatusOf(tb testing.TB, b []byte) *status.Status {
	tb.Helper()
	k := new(call)
	k.c = &conn{made: map[uint32]*call{}}
	k.room = &room{limit: 1 << 40}
	k.limit, k.allowed = 1<<30, 1<<30
	if err := k.takeEnd(b); err != nil {
		tb.Fatal(err)
	}
	if k.ending == nil {
		return status.New(codes.OK, "")
	}
	k.c.client.Other = "plugin"
	return status.Convert(k.result())
}

// assertEnded checks that the other side ends the connection.
func (p *rawPeer) assertEnded(what string) {
	p.t.Helper()
	for {
		if _, ok := p.next(); !ok {
			break
		}
	}
	receive(p.t, what+": the end of the connection", p.real.lost)
}

// answer answers the next call of the other side. ended has the result of that call.
func (p *rawPeer) answer(ended <-chan error) {
	p.t.Helper()
	f, ok := p.next()
	if !ok || f.kind != frameOpen {
		p.t.Fatal(f, ok)
	}
	p.send(frameEnd, f.id, endMessage)
	if err := receive(p.t, "the call", ended); err != nil {
		p.t.Fatal(err)
	}
}

// assertServes checks that the connection goes on.
func (p *rawPeer) assertServes(id uint32) {
	p.t.Helper()
	p.open(id, unaryName, openMessage)
	if s := p.endOf(id); s.Code() != codes.OK {
		p.t.Errorf("a call after that: %v", s)
	}
}

func uvarintOf(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// named is a request that says what a handler is to do.
func named(word string) *request {
	return &request{Payload: &testpb.Payload{Body: []byte(word)}}
}
