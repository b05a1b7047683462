package session

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/streamtest"
	"github.com/plugwire/plugwire/core/transport"
)

// direct returns a session over p, which has no connection yet.
func direct(t *testing.T, p *pipes, foreign bool) *Session {
	t.Helper()
	s, err := Dial(t.Context(), Config{
		Kind:        handshake.SessionDirect,
		Transport:   p,
		Dial:        transport.DialConfig{Version: 7, Address: "a"},
		Credentials: secure.Plaintext(),
		Foreign:     foreign,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenWritesThePreamble(t *testing.T) {
	p := newPipes()
	want := Preamble{Purpose: Offered, Name: "n"}
	read := streamtest.Go(func() (Preamble, error) {
		conn := <-p.conns
		got, err := ReadPreamble(conn)
		return got, errors.Join(err, conn.Close())
	})
	conn, err := direct(t, p, false).Open(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r := streamtest.Receive(t, "the preamble", read); r.Err != nil || r.Value != want {
		t.Errorf("the plugin read %+v, %v; want %+v", r.Value, r.Err, want)
	}
	if conn.Info.Security != handshake.SecurityNone {
		t.Errorf("authenticated by %q", conn.Info.Security)
	}
	if want := (transport.DialConfig{Version: 7, Address: "a"}); p.got != want {
		t.Errorf("the transport was given %+v, want %+v", p.got, want)
	}
	streamtest.CheckEnded(t, conn)
}

// TestDirectStreamIsNotWrapped checks that a direct stream is the transport's own connection.
func TestDirectStreamIsNotWrapped(t *testing.T) {
	s, l := connect(t, handshake.SessionDirect)
	conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, ok := conn.Conn.(*net.UnixConn); !ok {
		t.Errorf("the host has a %T", conn.Conn)
	}
	stream, ok := accepted.(*Stream)
	if !ok {
		t.Fatalf("accepted a %T", accepted)
	}
	if _, ok := stream.Conn.(*net.UnixConn); !ok {
		t.Errorf("the plugin has a %T", stream.Conn)
	}
	if stream.Info.Security != handshake.SecurityNone || stream.Purpose != Calls {
		t.Errorf("authenticated by %q, for purpose %d", stream.Info.Security, stream.Purpose)
	}
	streamtest.CheckPassing(t, conn, accepted)
}

// TestOpenForeignWritesNothing checks that a foreign plugin gets no preamble.
func TestOpenForeignWritesNothing(t *testing.T) {
	p := newPipes()
	conn, err := direct(t, p, true).Open(t.Context(), Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	streamtest.CheckClose(t, conn) // a pipe has no buffer: a write would have blocked
	theirs := <-p.conns
	defer theirs.Close()
	streamtest.CheckEnded(t, theirs)
}

func TestOpenReturnsTheTransportsError(t *testing.T) {
	p := newPipes()
	p.err = errors.New("it is not there")
	for _, foreign := range []bool{false, true} {
		conn, err := direct(t, p, foreign).Open(t.Context(), Preamble{Purpose: Calls})
		if conn != nil || !errors.Is(err, p.err) {
			t.Errorf("foreign %t: got %v, %v; want the transport's error", foreign, conn, err)
		}
	}
	s, err := Dial(t.Context(), Config{Kind: handshake.SessionYamux, Transport: p, Credentials: secure.Plaintext()})
	if s != nil || !errors.Is(err, p.err) {
		t.Errorf("yamux: got %v, %v; want the transport's error", s, err)
	}
}

func TestOpenReturnsTheErrorOfAuthentication(t *testing.T) {
	p := newPipes()
	s, err := Dial(t.Context(), Config{Kind: handshake.SessionDirect, Transport: p, Credentials: secure.PeerCred(0), Foreign: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Open(t.Context(), Preamble{Purpose: Calls})
	const want = "authenticate by peercred: peer credentials: *net.pipe is not a unix socket"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	theirs := <-p.conns
	defer theirs.Close()
	streamtest.CheckEnded(t, theirs)
}

// TestOpenEndsWithItsContext opens streams of a plugin that does not read. The context bounds
// Open all the same.
func TestOpenEndsWithItsContext(t *testing.T) {
	errGivenUp := errors.New("given up")
	yamux := func(ctx context.Context, p *pipes) (io.Closer, error) {
		return Dial(ctx, Config{Kind: handshake.SessionYamux, Transport: p, Credentials: secure.Plaintext()})
	}
	for name, open := range map[string]func(t *testing.T, ctx context.Context, p *pipes) error{
		"Open": func(t *testing.T, ctx context.Context, p *pipes) error {
			t.Helper()
			_, err := direct(t, p, false).Open(ctx, Preamble{Purpose: Calls})
			return err
		},
		"Named": func(t *testing.T, ctx context.Context, p *pipes) error {
			t.Helper()
			_, err := direct(t, p, false).Named(ctx, Offered, "n")
			return err
		},
		"Dial of yamux": func(_ *testing.T, ctx context.Context, p *pipes) error {
			_, err := yamux(ctx, p)
			return err
		},
	} {
		for when, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
			"cancelled before": func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(ctx)
				cancel(errGivenUp)
				return ctx, func() {}
			},
			"while the write blocks": func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(ctx, time.Minute, errGivenUp)
			},
		} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPipes()
					ctx, cancel := end(t.Context())
					defer cancel()
					if err := open(t, ctx, p); !errors.Is(err, errGivenUp) {
						t.Errorf("got %v, want the context's cause", err)
					}
					theirs := <-p.conns
					defer theirs.Close()
					if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
						t.Errorf("the plugin's end reads %v, want the end: the connection is still open", err)
					}
				})
			})
		}
	}
}

// TestStreamOutlivesItsContext checks that the context of Open does not end the stream.
func TestStreamOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		read := streamtest.Go(func() (Preamble, error) { return ReadPreamble(<-p.conns) })
		conn, err := direct(t, p, false).Open(ctx, Preamble{Purpose: Calls})
		if err != nil {
			t.Fatal(err)
		}
		if r := <-read; r.Err != nil {
			t.Fatal(r.Err)
		}
		cancel()
		synctest.Wait()
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want a connection that is open and silent", err)
		}
	})
}

func TestContextOfDialDoesNotEndAYamuxSession(t *testing.T) {
	host, ln, plugin := socketConfigs(t, handshake.SessionYamux)
	l := NewListener(ln, plugin)
	defer l.End()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Dial(ctx, host)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	ctx, cancel = context.WithCancel(t.Context())
	conn, err := s.Open(ctx, Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	streamtest.CheckPassing(t, conn, accepted)
}

// TestSessionEndsWithItsCalls closes the stream for calls. The shared connection ends with it,
// once the named streams are closed: a plugin may wait for that before it exits.
func TestSessionEndsWithItsCalls(t *testing.T) {
	s, l := connect(t, handshake.SessionYamux)
	calls, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	first, second := meet(t, s, l, Offered, "first"), meet(t, s, l, Offered, "second")
	streamtest.CheckClose(t, first.host, first.plugin)
	streamtest.CheckPassing(t, calls, accepted)
	streamtest.CheckPassing(t, second.host, second.plugin)
	streamtest.CheckClose(t, calls)
	streamtest.CheckEnded(t, accepted)
	streamtest.CheckPassing(t, second.host, second.plugin)
	streamtest.CheckClose(t, second.host)
	streamtest.CheckEnded(t, second.plugin)
	if conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a stream after the end: %v, %v", conn, err)
	}
}

// TestFinish reads what a plugin wrote before its end. That works until the user of the stream
// closes it, or the context ends.
func TestFinish(t *testing.T) {
	for name, finish := range map[string]func(*Session, net.Conn) error{
		"when the stream is closed": func(s *Session, conn net.Conn) error {
			finished := streamtest.Go(func() (any, error) { return nil, s.Finish(t.Context()) })
			streamtest.CheckClose(t, conn)
			return (<-finished).Err
		},
		"when the context ends": func(s *Session, _ net.Conn) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return s.Finish(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := connect(t, handshake.SessionYamux)
			stream := meet(t, s, l, Offered, "x")
			if _, err := io.WriteString(stream.plugin, "the last"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len("the last"))
			if _, err := io.ReadFull(stream.host, b); err != nil || string(b) != "the last" {
				t.Errorf("read %q, %v", b, err)
			}
			if err := finish(s, stream.host); err != nil {
				t.Error(err)
			}
			streamtest.CheckEnded(t, stream.plugin)
			if conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a stream after the end: %v, %v", conn, err)
			}
		})
	}
}

// TestCloseOfADirectSessionLeavesItsStreams closes a direct session, whose streams share
// nothing and go on.
func TestCloseOfADirectSessionLeavesItsStreams(t *testing.T) {
	s, l := connect(t, handshake.SessionDirect)
	calls, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	defer calls.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	streamtest.CheckClose(t, s)
	streamtest.CheckPassing(t, calls, accepted)
}

func TestConnOfAPreparedStart(t *testing.T) {
	p := newPipes()
	p.err = errors.New("there is no address")
	ours, theirs := net.Pipe()
	p.conns <- theirs
	l := NewListener(p, ListenerConfig{Kind: handshake.SessionYamux, Credentials: secure.Plaintext()})
	defer l.End()
	s, err := Dial(streamtest.Bounded(t), Config{Kind: handshake.SessionYamux, Transport: p, Conn: ours, Credentials: secure.Plaintext()})
	if err != nil {
		t.Fatal(err)
	}
	m := meet(t, s, l, Awaited, "n")
	streamtest.CheckPassing(t, m.host, m.plugin)
	streamtest.CheckClose(t, s)
	if _, err := ours.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to the connection of a closed session: %v", err)
	}
}

func TestDialRefuses(t *testing.T) {
	for kind, want := range map[string]string{
		"carrier-pigeon":        `session "carrier-pigeon" is not known here`,
		handshake.SessionNative: "transport pipes has no streams of its own",
	} {
		s, err := Dial(t.Context(), Config{Kind: kind, Transport: newPipes(), Credentials: secure.Plaintext()})
		if s != nil || err == nil || err.Error() != want {
			t.Errorf("%s: got %v, %v; want %s", kind, s, err, want)
		}
	}
}

// native is a transport with streams of its own, which it wrongly does not encrypt.
type native struct {
	*pipes
}

func (n native) DialSession(_ context.Context, cfg transport.DialConfig) (transport.Session, error) {
	n.got = cfg
	return nativeSession(n), n.err
}

type nativeSession struct{ *pipes }

func (s nativeSession) OpenStream(ctx context.Context) (net.Conn, error) { return s.Dial(ctx, s.got) }

// TestNativeStreamWithoutTLS checks that each side of a native session refuses a stream that
// the transport has not encrypted.
func TestNativeStreamWithoutTLS(t *testing.T) {
	id, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	creds := secure.MutualTLS(id, id.DER())
	p := native{newPipes()}
	read := streamtest.Go(func() (Preamble, error) {
		conn := <-p.conns
		got, err := ReadPreamble(conn)
		p.conns <- conn
		return got, err
	})
	s, err := Dial(streamtest.Bounded(t), Config{Kind: handshake.SessionNative, Transport: p, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	if p.got.TLS != creds.TLSConfig() {
		t.Error("the transport was not given the configuration of the credentials")
	}
	const want = "authenticate by mtls: a *net.pipe does not tell its TLS state"
	if conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls}); conn != nil || err == nil || err.Error() != want {
		t.Errorf("the host: %v, %v; want %s", conn, err, want)
	}
	if r := streamtest.Receive(t, "the preamble", read); r.Err != nil {
		t.Error(r.Err)
	}
	theirs := <-p.conns
	defer theirs.Close()
	streamtest.CheckEnded(t, theirs)
	streamtest.CheckClose(t, s)

	ln := newPipes()
	l := NewListener(ln, ListenerConfig{Kind: handshake.SessionNative, Credentials: creds, Foreign: true})
	defer l.End()
	ours, theirs := net.Pipe()
	defer ours.Close()
	ln.conns <- theirs
	streamtest.CheckEnded(t, ours)
}

// preparedTransport is a transport that prepares a start.
type preparedTransport struct {
	transport.Preparer
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		transport transport.Transport
		want      []string
	}{
		{newPipes(), []string{handshake.SessionDirect}},
		{preparedTransport{}, []string{handshake.SessionYamux}},
		{native{}, []string{handshake.SessionNative}},
	} {
		if got := Kinds(tt.transport); !slices.Equal(got, tt.want) {
			t.Errorf("%T: %v, want %v", tt.transport, got, tt.want)
		}
	}
}
