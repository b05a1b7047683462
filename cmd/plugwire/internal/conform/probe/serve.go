package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// openTime bounds the preamble and TLS of a connection, as of every plugin.
const openTime = 10 * time.Second

// accept treats a connection as the scene wants.
func (p *player) accept(conn net.Conn, number int64) {
	p.keep(conn)
	defer p.forget(conn)
	switch p.scene.Start { //nolint:exhaustive // others are no starts of their own
	case Cut:
		p.report.event(Event{Kind: Connected, N: number, Stream: &Stream{}})
		return
	case Mute:
		p.report.event(Event{Kind: Connected, N: number, Stream: &Stream{}})
		_, _ = io.Copy(io.Discard, conn) // until the host closes it
		p.report.event(Event{Kind: Closed})
		return
	}
	if !p.multiplexed {
		p.stream(conn, number)
		return
	}
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	session, err := yamux.Server(conn, cfg)
	if err != nil {
		p.report.event(Event{Kind: Failed, Text: err.Error()})
		return
	}
	defer session.Close() //nolint:errcheck // the process ends
	for ; ; number++ {
		stream, err := session.Accept()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.report.event(Event{Kind: Wrong, Text: "yamux: " + err.Error()})
			}
			return
		}
		go p.stream(stream, number)
	}
}

// stream authenticates a stream, and gives it to what serves it. It returns when the stream
// is over.
func (p *player) stream(conn net.Conn, number int64) {
	s := &Stream{Purpose: PurposeCalls}
	_ = conn.SetDeadline(time.Now().Add(openTime)) // an error shows when the connection is read
	var err error
	if !p.scene.Foreign {
		s.Purpose = 0
		err = readPreamble(conn, s)
	}
	if err == nil && p.security == mutual {
		conn, err = encrypt(conn, p.served, p.hosts, p.wire, s)
	}
	if err != nil {
		s.Wrong = err.Error()
		p.report.event(Event{Kind: Connected, N: number, Stream: s})
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	p.report.event(Event{Kind: Connected, N: number, Stream: s})
	switch {
	case s.Purpose == PurposeCallbacks && p.wire == wireH2:
		p.callBack(conn)
	case s.Purpose != PurposeCalls:
		_ = conn.Close() // as of a plugin that does not know it
	case p.wire == wirePW:
		p.servePW(conn)
	case p.scene.Raw != NotRaw:
		p.serveRaw(conn)
	default:
		watched := &watchedConn{Conn: conn, closed: make(chan struct{})}
		select {
		case p.calls <- watched:
			<-watched.closed
		case <-p.stopping:
		}
		p.report.event(Event{Kind: Closed})
	}
}

// watchedConn tells when it is closed.
type watchedConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// connListener gives authenticated connections to grpc's server.
type connListener struct{ p *player }

func (l connListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.p.calls:
		return conn, nil
	case <-l.p.stopping:
		return nil, net.ErrClosed
	}
}

func (connListener) Close() error     { return nil }
func (l connListener) Addr() net.Addr { return l.p.listener.Addr() }

// rawCodec passes messages on as bytes: the probe knows no messages of the host's protocol.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}
func (rawCodec) Name() string { return "proto" }

// maxMessage is the largest message that the probe takes, as of every plugin.
const maxMessage = 256 << 20

func (p *player) serveGRPC() {
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.MaxRecvMsgSize(maxMessage), grpc.UnknownServiceHandler(p.handle))
	if err := server.Serve(connListener{p}); err != nil && !errors.Is(err, net.ErrClosed) {
		p.report.event(Event{Kind: Failed, Text: err.Error()})
	}
}

// ControlService is the prefix of the methods by which a host manages a plugin.
const ControlService = "/plugwire.v1.Control/"

// The methods and the prefixes of services that the probe knows.
const (
	healthCheck      = "/grpc.health.v1.Health/Check"
	healthWatch      = "/grpc.health.v1.Health/Watch"
	controlReady     = ControlService + "Ready"
	controlShutdown  = ControlService + "Shutdown"
	pluginServices   = "/plugin."
	foreignShutdown  = pluginServices + "GRPCController/Shutdown"
	stdioStream      = pluginServices + "GRPCStdio/StreamStdio"
	brokerStream     = pluginServices + "GRPCBroker/StartStream"
	reflectionPrefix = "/grpc.reflection."
)

// empty is the message that answers a call: each message may be empty.
var empty = []byte{}

// serving is the answer of a healthy service.
var serving = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)

// handle serves every method.
func (p *player) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	ctx := stream.Context()
	switch {
	case method == p.shutdownMethod():
		return p.shutdown(stream, method)
	case method == controlReady && !p.scene.Foreign:
		p.report.event(Event{Kind: Readied})
		if p.scene.Extras == NotReady {
			return status.Error(codes.FailedPrecondition, notReadyText)
		}
		return stream.SendMsg(&empty)
	case method == stdioStream && p.scene.Foreign:
		p.report.event(Event{Kind: Streamed, Text: "StreamStdio"})
		if err := p.sendStdio(stream); err != nil {
			return err
		}
		p.untilStop(ctx)
		return nil
	case method == brokerStream:
		p.report.event(Event{Kind: Streamed, Text: "StartStream"})
		go p.drain(stream)
		if err := p.sendBroker(stream); err != nil {
			return err
		}
		p.untilStop(ctx)
		return nil
	case isFramework(method):
		return status.Error(codes.Unimplemented, "the probe does not have it")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if err := p.call(ctx, method, md); err != nil {
		return err
	}
	answer := empty
	if method == healthCheck || method == healthWatch {
		answer = serving
	}
	var request []byte
	if err := stream.RecvMsg(&request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.SendMsg(&answer); err != nil {
		return err
	}
	p.report.event(Event{Kind: Answered, Text: method})
	if method == healthWatch {
		p.untilStop(ctx)
		return nil
	}
	for { // a stream ends when the host has sent everything
		if err := stream.RecvMsg(&request); err != nil {
			return nil //nolint:nilerr // the stream has ended
		}
	}
}

// notReadyText is why Ready fails.
const notReadyText = "the conform probe is not ready"

// isFramework reports whether a method belongs to a framework, and not to the host's
// protocol. Health counts as a call of the host.
func isFramework(method string) bool {
	for _, prefix := range []string{ControlService, pluginServices, reflectionPrefix} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}

// shutdownMethod is the method by which this host asks the probe to stop.
func (p *player) shutdownMethod() string {
	if p.scene.Foreign {
		return foreignShutdown
	}
	return controlShutdown
}

// shutdown answers as the scene wants.
func (p *player) shutdown(stream grpc.ServerStream, method string) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	p.asked(method, request)
	switch p.scene.Stop { //nolint:exhaustive // others end as they should
	case Deaf:
		select {} // until the host or the test ends the process
	case Unknown:
		return status.Error(codes.Unimplemented, "the probe does not have it")
	}
	err := stream.SendMsg(&empty)
	if p.scene.Stop != Stay {
		p.end()
	}
	return err
}

// asked reports that the host asks the probe to stop, and the grace that it gives.
func (p *player) asked(method string, request []byte) {
	e := Event{Kind: Asked, Text: method}
	if num, kind, n := protowire.ConsumeTag(request); n > 0 && num == 1 && kind == protowire.VarintType {
		if v, m := protowire.ConsumeVarint(request[n:]); m > 0 {
			e.N = int64(v)
		}
	}
	p.report.event(e)
}

// untilStop waits for the end of a stream that lasts as long as the host.
func (p *player) untilStop(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-p.stopping:
	}
}

// extraTime is how long an answer waits for what the scene does beside it.
const extraTime = 5 * time.Second

// call does what the scene wants when a call comes. The call is answered if the error is
// nil.
func (p *player) call(ctx context.Context, method string, headers map[string][]string) (err error) {
	p.report.event(Event{Kind: Called, Text: method, Headers: headers})
	switch p.scene.Call { //nolint:exhaustive // others answer as they should
	case Die:
		p.leave(3)
	case HangUp:
		p.hangUp()
		select {} // until the host or the test ends the process
	case Hang:
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	case Fail:
		return status.Error(codes.FailedPrecondition, "the conform probe fails each call")
	}
	p.first.Do(func() {
		p.pause(ctx, p.stdin, stdinTime)
		if p.scene.Extras == Stdio || p.scene.Extras == Broker || p.scene.Extras == Callbacks && p.wire == wireH2 {
			p.pause(ctx, p.extra, extraTime)
		}
		err = p.write()
		p.weigh()
	})
	return err
}

// stdinTime is how long an answer waits for what is on standard input. A host that gives
// the probe its own has already written to it.
const stdinTime = 100 * time.Millisecond

// callBack makes a call to the host on the stream for these.
func (p *player) callBack(conn net.Conn) {
	if p.scene.Extras != Callbacks {
		<-p.stopping
		return
	}
	defer close(p.extra)
	once := make(chan net.Conn, 1)
	once <- conn
	cc, err := grpc.NewClient("passthrough:localhost",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case conn := <-once:
				return conn, nil
			default:
				return nil, errors.New("there is one stream for calls to the host")
			}
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		p.report.event(Event{Kind: Failed, Text: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), extraTime)
	defer cancel()
	var response []byte
	err = cc.Invoke(ctx, unknownMethod, &empty, &response)
	p.report.event(Event{Kind: CalledBack, Text: status.Code(err).String()})
}

// unknownMethod is a method that no host serves.
const unknownMethod = "/conform.Nothing/Nothing"

// write prints what the scene wants on both outputs, and reports when the host has read it.
func (p *player) write() error { //nolint:unparam // as the other parts of a scene
	var out, errs string
	const lines = 6000 // much more than a pipe and a reader hold
	line := strings.Repeat("x", 99) + "\n"
	switch p.scene.Call {
	case Write:
		out = strings.Repeat(line, lines)
		errs = out
	case Long:
		out = strings.Repeat("x", hugeSize) + "\n" + strings.Repeat(line, lines/10)
		errs = out
	case Odd:
		errs = strings.Join(oddLines, "\n") + "\n"
	default:
		return nil
	}
	var wg sync.WaitGroup
	for _, part := range []struct {
		name string
		file *os.File
		text string
	}{{"standard output", os.Stdout, out}, {"standard error", os.Stderr, errs}} {
		wg.Go(func() {
			if _, err := part.file.WriteString(part.text); err != nil {
				p.report.event(Event{Kind: Failed, Text: part.name + ": " + err.Error()})
				return
			}
			p.report.event(Event{Kind: Drained, Text: part.name, N: int64(len(part.text))})
		})
	}
	wg.Wait()
	return nil
}

// oddLines are lines that a reader of logs may stumble over.
var oddLines = []string{
	`{"@message":1}`,
	`{"@message":"m","@level":5}`,
	`{"@message":"m","@level":"info","@timestamp":7}`,
	`{"@message":null,"@level":null,"@timestamp":null}`,
	`{"level":{"a":[1]},"msg":["b"],"time":{}}`,
	`{"level":"info","msg":"m","level":"error","msg":"n","time":"yesterday"}`,
	`{"message":"unfinished`,
	`[]`, `{}`, `null`, `""`, `[1,2`, `{"a":` + strings.Repeat(`[`, 20_000),
	strings.Repeat(`{"a":`, 2_000) + `1` + strings.Repeat(`}`, 2_000),
	"\x00\x01\x02\xff\xfe\xc0\x80", "\x1b[31mred\x1b[", "%s%n%d", "=", "==", `level= msg=`, `level=info msg="unfinished`,
	`[INFO]`, `[]`, `[`, "panic: ", "fatal error: ", "\r", "", " ",
	`I1130 18:42:06.123456`, `<999999999999999999999>text`, `2006-01-02T15:04:05Z`, `{"level":"info","msg":"m","ts":1e400}`,
	`{"level":99999999999999999999,"msg":"m","ts":-1e308}`,
}
