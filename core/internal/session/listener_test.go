package session

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/streamtest"
)

func writing(s string) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, s)
		return err
	}
}

func preamble(p Preamble) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := p.WriteTo(conn)
		return err
	}
}

// dialPipe opens a connection to ln.
func dialPipe(t *testing.T, ln *pipes) net.Conn {
	t.Helper()
	conn, err := ln.Dial(t.Context(), ln.got)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// count returns the number of streams that are not yet admitted, and of yamux sessions.
func (l *Listener) count() (pending, muxes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending), len(l.muxes)
}

// eventually waits until the listener has that many of both. It polls, because nothing
// announces either.
func (l *Listener) eventually(t *testing.T, wantPending, wantMuxes int) {
	t.Helper()
	ctx := streamtest.Bounded(t)
	for {
		pending, muxes := l.count()
		if pending == wantPending && muxes == wantMuxes {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d streams are pending and there are %d yamux sessions, want %d and %d", pending, muxes, wantPending, wantMuxes)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestListenerRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		host func(net.Conn) error
	}{
		{"HTTP/2", writing("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		{"TLS", writing("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on")},
		{"another version", writing(magic + "\x02\x01\x00\x00\x00\x00")},
		{"reserved bytes", writing(magic + "\x01\x01\x00\x00\x00\x01")},
		{"a long name", writing(magic + "\x01\x03\x01\x00\x00\x00")},
		{"an unknown purpose", preamble(Preamble{Purpose: Carrier + 1})},
		{"no purpose", preamble(Preamble{})},
		{"calls with a name", preamble(Preamble{Purpose: Calls, Name: "x"})},
		{"callbacks with a name", preamble(Preamble{Purpose: Callbacks, Name: "x"})},
		{"a carrier in a direct session", preamble(Preamble{Purpose: Carrier})},
		{"half a preamble", writing(magic)},
		{"silence", func(net.Conn) error { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := newPipes()
				l := NewListener(ln, ListenerConfig{
					Kind:        handshake.SessionDirect,
					Credentials: secure.Plaintext(),
				})
				conn := dialPipe(t, ln)
				wrote := make(chan error, 1)
				go func() { wrote <- tt.host(conn) }()
				began := time.Now()
				if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("read %d bytes, %v; want the end", n, err)
				}
				if took := time.Since(began); took != 0 && took != AdmitTimeout {
					t.Errorf("it took %v, want no time or %v", took, AdmitTimeout)
				}
				<-wrote // may have been cut off
				synctest.Wait()
				if pending, _ := l.count(); pending != 0 {
					t.Errorf("%d streams are pending", pending)
				}
				l.End()
				streamtest.CheckClose(t, conn)
			})
		})
	}
}

// TestPurposesOfYamuxSessions opens streams with each purpose. Only the carrier may be a
// connection of its own, and it must be one.
func TestPurposesOfYamuxSessions(t *testing.T) {
	for _, purpose := range []Purpose{Calls, Callbacks, Offered, Awaited} {
		host, ln, plugin := socketConfigs(t, handshake.SessionYamux)
		l := NewListener(ln, plugin)
		host.Kind = handshake.SessionDirect
		s, err := Dial(streamtest.Bounded(t), host)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: purpose})
		if err != nil {
			t.Fatal(err)
		}
		streamtest.CheckEnded(t, conn) // only the carrier may be a connection of its own
		streamtest.CheckClose(t, conn)
		l.End()
	}
	s, l := connect(t, handshake.SessionYamux)
	conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Carrier})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	streamtest.CheckEnded(t, conn) // a carrier may not be a stream on another
	m := meet(t, s, l, Offered, "n")
	streamtest.CheckPassing(t, m.host, m.plugin)
}

// TestListenerYieldsStreams opens the streams on which a wire carries calls. The listener
// yields each, with its purpose.
func TestListenerYieldsStreams(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			type owner struct{}
			s, l := connect(t, kind, func(_ *Config, plugin *ListenerConfig) {
				plugin.Credentials = plugin.Credentials.WithOwner(owner{})
			})
			for _, purpose := range []Purpose{Callbacks, Calls} { // the end of the latter ends the session
				conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: purpose})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				accepted, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer accepted.Close()
				if got := accepted.(*Stream); got.Info.Owner != (owner{}) || got.Purpose != purpose || conn.Purpose != purpose {
					t.Errorf("its owner is %v, its purpose %d, want %d", got.Info.Owner, got.Purpose, purpose)
				}
				streamtest.CheckPassing(t, conn, accepted)
			}
			if got := l.Addr(); got == nil || got.Network() != "unix" {
				t.Errorf("the address is %v", got)
			}
		})
	}
}

// TestAdmittedStreamHasNoDeadline checks that the deadline of the admission is removed.
func TestAdmittedStreamHasNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
		conn, err := direct(t, ln, false).Open(t.Context(), Preamble{Purpose: Calls})
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		read := streamtest.Go(func() (int, error) { return accepted.Read(make([]byte, 1)) })
		<-time.After(10 * AdmitTimeout)
		if len(read) > 0 {
			t.Errorf("the read ended: %v", (<-read).Err)
		}
		streamtest.CheckClose(t, conn)
		if r := <-read; !errors.Is(r.Err, io.EOF) {
			t.Errorf("read: %v, want the end", r.Err)
		}
		streamtest.CheckClose(t, accepted)
		l.End()
	})
}

// TestForeignHost connects a host that sends no preamble. All of its streams are for calls.
func TestForeignHost(t *testing.T) {
	s, l := connect(t, handshake.SessionDirect, func(host *Config, plugin *ListenerConfig) { host.Foreign, plugin.Foreign = true, true })
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
	streamtest.CheckPassing(t, conn, accepted)
}

// TestPendingStreamsAreBounded opens as many silent streams as may be pending. The next stream
// is admitted as soon as one of them has gone.
func TestPendingStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
		var silent []net.Conn
		for range MaxPending {
			silent = append(silent, dialPipe(t, ln))
		}
		synctest.Wait()
		if pending, _ := l.count(); pending != MaxPending {
			t.Fatalf("%d streams are pending, want %d", pending, MaxPending)
		}
		next := dialPipe(t, ln)
		wrote := streamtest.Go(func() (int64, error) { return Preamble{Purpose: Calls}.WriteTo(next) })
		synctest.Wait()
		if pending, _ := l.count(); pending != MaxPending || len(wrote) > 0 {
			t.Errorf("%d streams are pending, want %d and one that waits", pending, MaxPending)
		}
		streamtest.CheckClose(t, silent[0])
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if r := <-wrote; r.Err != nil {
			t.Error(r.Err)
		}
		began := time.Now()
		for _, conn := range silent[1:] {
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("a silent stream: %v, want the end", err)
			}
			streamtest.CheckClose(t, conn)
		}
		if took := time.Since(began); took != AdmitTimeout {
			t.Errorf("the silent streams ended after %v, want %v", took, AdmitTimeout)
		}
		l.End()
		streamtest.CheckClose(t, next, accepted)
	})
}

// TestCloseDropsPending closes a listener with a silent stream, which does not delay the close.
func TestCloseDropsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
		calls, err := direct(t, ln, false).Open(t.Context(), Preamble{Purpose: Calls})
		if err != nil {
			t.Fatal(err)
		}
		admitted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		unaccepted, err := direct(t, ln, false).Open(t.Context(), Preamble{Purpose: Calls})
		if err != nil {
			t.Fatal(err)
		}
		var silent []net.Conn
		for range MaxPending {
			silent = append(silent, dialPipe(t, ln))
		}
		synctest.Wait()
		late := dialPipe(t, ln)

		began := time.Now()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close: %v", err)
		}
		if conn, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v, %v", conn, err)
		}
		for _, conn := range append(silent, unaccepted) {
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("a stream that was not admitted: %v, want the end", err)
			}
			streamtest.CheckClose(t, conn)
		}
		streamtest.CheckPassing(t, calls, admitted)
		l.End()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		select {
		case conn := <-ln.conns:
			streamtest.CheckClose(t, conn) // it was not accepted
		default:
		}
		streamtest.CheckClose(t, late, calls, admitted)
	})
}

func TestCloseUnblocksAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewListener(newPipes(), ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
		accepted := streamtest.Go(l.Accept)
		synctest.Wait()
		streamtest.CheckClose(t, l)
		if r := <-accepted; !errors.Is(r.Err, net.ErrClosed) {
			t.Errorf("got %v, %v; want %v", r.Value, r.Err, net.ErrClosed)
		}
		l.End()
	})
}

// TestCloseAndEndOfYamux checks that a yamux session goes on after Close, without new streams,
// and that End ends it.
func TestCloseAndEndOfYamux(t *testing.T) {
	s, l := connect(t, handshake.SessionYamux)
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
	m := meet(t, s, l, Offered, "n")
	streamtest.CheckClose(t, l)
	for range 3 {
		late, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Awaited})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a stream after Close: %v, want the end", err)
		}
		streamtest.CheckClose(t, late)
	}
	streamtest.CheckPassing(t, calls, accepted)
	streamtest.CheckPassing(t, m.host, m.plugin)
	l.End()
	streamtest.CheckEnded(t, calls)
	if _, muxes := l.count(); muxes != 0 {
		t.Errorf("%d yamux sessions are left", muxes)
	}
}

// TestYamuxSessionsComeAndGo ends yamux sessions by the host. The plugin forgets each, and
// accepts the next.
func TestYamuxSessionsComeAndGo(t *testing.T) {
	host, ln, plugin := socketConfigs(t, handshake.SessionYamux)
	l := NewListener(ln, plugin)
	defer l.End()
	for range 3 {
		s, err := Dial(streamtest.Bounded(t), host)
		if err != nil {
			t.Fatal(err)
		}
		m := meet(t, s, l, Offered, "n")
		streamtest.CheckPassing(t, m.host, m.plugin)
		streamtest.CheckClose(t, s)
		streamtest.CheckEnded(t, m.plugin)
	}
	l.eventually(t, 0, 0)
}

// errListener is a listener whose Accept fails before each connection.
type errListener struct {
	*pipes
	errs chan error
}

func (e errListener) Accept() (net.Conn, error) {
	select {
	case err := <-e.errs:
		return nil, err
	default:
		return e.pipes.Accept()
	}
}

func TestTemporaryErrorsOfAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const errs = 13
		ln := errListener{newPipes(), make(chan error, errs)}
		for range errs {
			ln.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		}
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		began := time.Now()
		l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext(), Logger: logger})
		conn := dialPipe(t, ln.pipes)
		wrote := streamtest.Go(func() (int64, error) { return Preamble{Purpose: Calls}.WriteTo(conn) })
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "no connection can be accepted") || !strings.Contains(got, "too many open files") {
			t.Errorf("the log is %q, want one record that says why", got)
		}
		// 1, 2, 4 ... 512 ms, and then a second for each.
		if took, want := time.Since(began), 1023*time.Millisecond+(errs-10)*maxAcceptDelay; took != want {
			t.Errorf("it paused for %v, want %v", took, want)
		}
		if r := <-wrote; r.Err != nil {
			t.Error(r.Err)
		}
		streamtest.CheckClose(t, conn, accepted)
		l.End()
	})
}

// TestCloseDuringAPause closes a listener during a pause, which Close does not wait for.
func TestCloseDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := errListener{newPipes(), make(chan error, 1)}
		ln.errs <- syscall.EMFILE
		l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
		synctest.Wait()
		began := time.Now()
		l.End()
		if took := time.Since(began); took != 0 {
			t.Errorf("End took %v", took)
		}
	})
}

func TestPermanentErrorOfAccept(t *testing.T) {
	ln := errListener{newPipes(), make(chan error, 1)}
	want := errors.New("the socket is broken")
	ln.errs <- want
	l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
	for range 2 {
		if conn, err := l.Accept(); !errors.Is(err, want) {
			t.Errorf("got %v, %v; want %v", conn, err, want)
		}
	}
	l.End()
}

// TestSlowHandshake opens a stream that is slow to authenticate. It delays no other stream.
func TestSlowHandshake(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			host, plugin := identity(t), identity(t)
			var address string
			s, l := connect(t, kind, func(h *Config, p *ListenerConfig) {
				address = h.Dial.Address
				h.Credentials = secure.MutualTLS(host, plugin.DER())
				p.Credentials = secure.MutualTLS(plugin, host.DER())
			})
			purpose, muxes := Calls, 0
			if kind == handshake.SessionYamux {
				purpose, muxes = Carrier, 1
			}
			l.eventually(t, 0, muxes)
			began := time.Now()
			slow, err := net.Dial("unix", address)
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Close()
			l.eventually(t, 1, muxes)
			if _, err := (Preamble{Purpose: purpose}).WriteTo(slow); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(slow, "\x16\x03\x01"); err != nil { // the beginning of TLS
				t.Fatal(err)
			}
			conn, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if conn.Info.Security != handshake.SecurityMTLS {
				t.Errorf("authenticated by %s", conn.Info.Security)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer accepted.Close()
			if got := accepted.(*Stream).Info; got.Security != handshake.SecurityMTLS || got.TLS == nil {
				t.Errorf("authenticated by %s, TLS state %v", got.Security, got.TLS)
			}
			streamtest.CheckPassing(t, conn, accepted)
			if pending, _ := l.count(); pending != 1 && time.Since(began) < AdmitTimeout {
				t.Errorf("%d streams are pending, want the slow one", pending)
			}
			l.End() // does not wait for the slow stream
			if _, err := slow.Read(make([]byte, 1)); err == nil {
				t.Error("the slow one is still open")
			}
		})
	}
}

func identity(t *testing.T) *secure.Identity {
	t.Helper()
	id, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestBurst opens more streams at once than may be pending. All of them are admitted.
func TestBurst(t *testing.T) {
	t.Run(handshake.SessionDirect, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // many handshakes may take long on a busy machine
			host, plugin := identity(t), identity(t)
			ln := newPipes()
			l := NewListener(ln, ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.MutualTLS(plugin, host.DER())})
			s, err := Dial(t.Context(), Config{Kind: handshake.SessionDirect, Transport: ln, Credentials: secure.MutualTLS(host, plugin.DER())})
			if err != nil {
				t.Fatal(err)
			}
			burst(t, s, l)
			streamtest.CheckClose(t, s)
			l.End()
		})
	})
	t.Run(handshake.SessionYamux, func(t *testing.T) {
		s, l := connect(t, handshake.SessionYamux) // yamux shares its timers, so it cannot be in a bubble of synctest
		burst(t, s, l)
	})
}

// burst opens many named streams at once.
func burst(t *testing.T, s *Session, l *Listener) {
	t.Helper()
	const streams = 4 * MaxPending
	done := make(chan error, 2*streams)
	for range streams {
		for _, open := range []func() (net.Conn, error){
			func() (net.Conn, error) { return s.Named(t.Context(), Offered, "n") },
			func() (net.Conn, error) { return l.AcceptNamed(t.Context(), "", "n") },
		} {
			go func() {
				conn, err := open()
				if err == nil {
					_ = conn.Close() // TLS fails to notify the other end, which has gone
				}
				done <- err
			}()
		}
	}
	failed := 0
	for range 2 * streams {
		if err := streamtest.Receive(t, "a half", done); err != nil {
			failed++
			if failed == 1 {
				t.Error(err)
			}
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d halves failed", failed, 2*streams)
	}
}
