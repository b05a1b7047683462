package session

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// multiplexedPair opens a session in go-plugin's multiplexed mode, with TLS in each
// stream, and returns the two ends of its stream for calls too.
func multiplexedPair(t *testing.T) (s *Session, l *Listener, calls, served net.Conn) {
	t.Helper()
	host, plugin := newIdentity(t), newIdentity(t)
	s, l = connect(t, handshake.SessionYamux, func(cfg *Config, listening *ListenerConfig) {
		cfg.Foreign, listening.Foreign = true, true
		cfg.Credentials = secure.MutualTLS(host, plugin.DER())
		listening.Credentials = secure.MutualTLS(plugin, host.DER())
	})
	stream, err := s.Open(bounded(t), Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	if stream.Info.Security != handshake.SecurityMTLS {
		t.Errorf("security %q", stream.Info.Security)
	}
	calls = stream
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClose(t, accepted, calls) }) // the latter ends the session
	if !s.Multiplexed() || !l.Multiplexed() {
		t.Error("the session does not count as multiplexed")
	}
	return s, l, calls, accepted
}

// opener is either end of a session.
type opener interface {
	OpenStream(ctx context.Context) (net.Conn, error)
	Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error)
}

// open opens a stream that the other side expects.
func open(t *testing.T, from opener) (net.Conn, error) {
	t.Helper()
	stream, err := from.OpenStream(bounded(t))
	if err != nil {
		return nil, err
	}
	stream, _, err = from.Authenticate(bounded(t), stream)
	return stream, err
}

func newIdentity(t *testing.T) *secure.Identity {
	t.Helper()
	id, err := secure.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestMultiplexed opens streams both ways, after they were announced, beside the
// one for calls.
func TestMultiplexed(t *testing.T) {
	s, l, calls, served := multiplexedPair(t)
	for range 3 {
		came := make(chan *Stream, 2)
		if !s.Expect(func(x *Stream) { came <- x }) || !l.Expect(func(x *Stream) { came <- x }) {
			t.Fatal("too many are expected")
		}
		fromPlugin, err := open(t, l)
		if err != nil {
			t.Fatal(err)
		}
		atHost := receive(t, "the plugin's stream", came)
		checkPassing(t, fromPlugin, atHost)
		fromHost, err := open(t, s)
		if err != nil {
			t.Fatal(err)
		}
		atPlugin := receive(t, "the host's stream", came)
		checkPassing(t, fromHost, atPlugin)
		if atPlugin.Info.Security != handshake.SecurityMTLS || atHost.Info.Security != handshake.SecurityMTLS {
			t.Errorf("security %q and %q", atPlugin.Info.Security, atHost.Info.Security)
		}
		checkClose(t, fromPlugin, atHost, fromHost, atPlugin)
	}
	checkPassing(t, calls, served)
	// A stream of the host's that nobody has announced is another one for calls.
	again, err := open(t, s)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	checkPassing(t, again, accepted)
	checkClose(t, again, accepted)
}

// TestUnannouncedStreams closes what the plugin opens without having announced it,
// however often, and goes on.
func TestUnannouncedStreams(t *testing.T) {
	s, l, calls, served := multiplexedPair(t)
	for range 2 * maxPending {
		if conn, err := open(t, l); err == nil {
			t.Error("a stream that was not announced was let in")
			checkClose(t, conn)
		}
	}
	checkPassing(t, calls, served)
	came := make(chan *Stream, 1)
	if !s.Expect(func(x *Stream) { came <- x }) {
		t.Fatal("too many are expected")
	}
	fromPlugin, err := open(t, l)
	if err != nil {
		t.Fatal(err)
	}
	atHost := receive(t, "the plugin's stream", came)
	checkPassing(t, fromPlugin, atHost)
	checkClose(t, fromPlugin, atHost)
}

// dialStranger connects as whoever can, and returns what comes of its connection,
// the connection, and the session on it.
func dialStranger(t *testing.T, l *Listener) (ended <-chan result[int64], conn net.Conn, m *mux.Session) {
	t.Helper()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ended = start(func() (int64, error) { return io.Copy(io.Discard, conn) })
	await(t, "the connection is not accepted", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for m = range l.muxes {
			if isStrange(l.muxes[m]) {
				return true
			}
		}
		return false
	})
	return ended, conn, m
}

// await polls for what nothing tells of.
func await(t *testing.T, otherwise string, state func() bool) {
	t.Helper()
	for ctx := bounded(t); !state(); {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestStreamsOfStrangers ends a session on which many streams are opened before
// anybody has authenticated, and not the host's.
func TestStreamsOfStrangers(t *testing.T) {
	_, l, calls, served := multiplexedPair(t)
	ended, conn, m := dialStranger(t, l)
	for i := range uint32(maxStrange) {
		if _, err := conn.Write(frame(1, flagSYN, 2*i+1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "a few are not let in", func() bool { return m.Streams() == maxStrange })
	if _, err := conn.Write(frame(1, flagSYN, 2*maxStrange+1, 0)); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of the connection", ended)
	if _, err := m.Accept(); !errors.Is(err, errOpenedEarly) {
		t.Errorf("it ended with %v, want %v", err, errOpenedEarly)
	}
	checkClose(t, conn)
	checkPassing(t, calls, served)
}

// TestRefusedStreamsAreBounded has somebody open streams that are refused, and close
// none of them: this side holds only so many of them at a time.
func TestRefusedStreamsAreBounded(t *testing.T) {
	_, l, calls, served := multiplexedPair(t)
	ended, conn, m := dialStranger(t, l)
	l.mu.Lock()
	l.muxes[m].Store(true) // as if it had authenticated
	l.mu.Unlock()
	const junk, opened = "junk!", 250 // fewer than what yamux holds for Accept; more would be reset
	for i := range uint32(opened) {
		data := slices.Concat(frame(1, flagSYN, 2*i+1, 0), frame(0, 0, 2*i+1, uint32(len(junk))), []byte(junk))
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	const flagFIN, accepted = 4, maxPending + 1 // the last waits for its turn
	await(t, "the streams do not wait for their turn", func() bool {
		return m.Streams() == accepted
	})
	for i := range uint32(opened) {
		if _, err := conn.Write(frame(1, flagFIN, 2*i+1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "streams that both sides have closed are held", func() bool { return m.Streams() == 0 })
	checkClose(t, conn)
	receive(t, "the end of the connection", ended)
	checkPassing(t, calls, served)
}

// TestStreamOfAnother has somebody without the certificate connect: it neither gets
// a stream nor the plugin's own, nor takes the place of one that the host has
// announced.
func TestStreamOfAnother(t *testing.T) {
	s, l, calls, served := multiplexedPair(t)
	came := make(chan *Stream, 1)
	if !l.Expect(func(x *Stream) { came <- x }) {
		t.Fatal("too many are expected")
	}
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	another, err := mux.Client(conn, anyFrame)
	if err != nil {
		t.Fatal(err)
	}
	stranger := &Session{dial: another.Open, creds: secure.MutualTLS(newIdentity(t), newIdentity(t).DER()), foreign: true}
	if stream, err := stranger.Open(bounded(t), Preamble{Purpose: Calls}); err == nil {
		_ = stream.SetDeadline(time.Now().Add(hang)) // TLS 1.3 tells the client when it reads
		if _, err := stream.Read(make([]byte, 1)); err == nil || errors.Is(err, io.ErrNoProgress) {
			t.Errorf("a stranger was let in: %v", err)
		}
	}
	if err := another.Close(); err != nil {
		t.Error(err)
	}
	fromHost, err := open(t, s)
	if err != nil {
		t.Fatal(err)
	}
	atPlugin := receive(t, "the host's stream", came)
	checkPassing(t, fromHost, atPlugin)
	checkClose(t, fromHost, atPlugin)
	checkPassing(t, calls, served)
}

// TestStrangers lets in no more than so many who connect and say nothing, and ends
// their sessions, and not the host's.
func TestStrangers(t *testing.T) {
	_, l, calls, served := multiplexedPair(t)
	began := time.Now()
	ends := make(chan error)
	for range maxPending + 1 {
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := conn.Read(make([]byte, 1))
			_ = conn.Close()
			ends <- err
		}()
	}
	if err := receive(t, "the end of one too many", ends); err == nil {
		t.Error("something was said to it")
	}
	l.mu.Lock()
	muxes := slices.Collect(maps.Keys(l.muxes))
	l.mu.Unlock()
	if len(muxes) != maxPending+1 && time.Since(began) < admitTimeout {
		t.Errorf("%d sessions, want the host's and %d", len(muxes), maxPending)
	}
	for _, m := range muxes {
		l.endStranger(m) // as the timer of each does
	}
	for range maxPending {
		receive(t, "the end of a stranger", ends)
	}
	checkPassing(t, calls, served)
}

// TestExpected forgets in time what was announced and did not come, and keeps no
// more than it may.
func TestExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e expected
		var got []int
		add := func(i int) bool { return e.add(func(*Stream) { got = append(got, i) }) }
		for i := range maxExpected {
			if !add(i) {
				t.Fatalf("%d are too many", i)
			}
		}
		if add(-1) {
			t.Error("there is no limit")
		}
		for range 2 {
			e.next()(nil)
		}
		time.Sleep(expectedFor + time.Second)
		if e.next() != nil {
			t.Error("what was announced long ago is still expected")
		}
		if !add(2) {
			t.Error("what has expired counts")
		}
		e.next()(nil)
		if len(got) != 3 || got[0] != 0 || got[1] != 1 || got[2] != 2 {
			t.Errorf("the order is %v", got)
		}
	})
}

// TestLimitedPings lets a peer ping as often as go-plugin does, for as long as it
// likes, and not much more often.
func TestLimitedPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var policy peerPolicy
		ping := mux.Frame{Type: 2, Flags: flagSYN}
		for range 1000 {
			if err := policy.judge(ping); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pingInterval)
		}
		var err error
		sent := 0
		for ; err == nil && sent < 10*maxPings; sent++ {
			err = policy.judge(ping)
		}
		if !errors.Is(err, errPingedOften) || sent > maxPings+1 {
			t.Errorf("%v after %d pings", err, sent)
		}
	})
}

// FuzzMultiplexed has either side read anything from the other, which then leaves:
// both end, and nothing is left.
func FuzzMultiplexed(f *testing.F) {
	for _, data := range [][]byte{
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		frame(9, 0, 1, 0),
		append(append(frame(1, 1, 1, 0), frame(0, 0, 1, 1<<31)...), make([]byte, 1<<10)...),
		frame(0, 1, 1, 100),
	} {
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Add(append(frame(1, 1, 2, 0), frame(0, 1, 4, 0)...), false) // streams of the plugin's
	f.Add(append(frame(2, 1, 0, 7), frame(3, 0, 0, 0)...), true)
	f.Fuzz(func(t *testing.T, data []byte, host bool) {
		cfg, ln, listening := socketConfigs(t, handshake.SessionYamux)
		cfg.Foreign, listening.Foreign = true, true
		var ours, theirs io.Closer
		var peer net.Conn
		if host {
			l := NewListener(ln, listening)
			l.Expect(func(s *Stream) { _ = s.Close() })
			conn, err := net.Dial("unix", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			peer, ours = conn, ended(l.End)
		} else {
			s, err := Dial(bounded(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			s.Expect(func(s *Stream) { _ = s.Close() })
			if peer, err = ln.Accept(); err != nil {
				t.Fatal(err)
			}
			ours, theirs = s, ln
		}
		drained := start(func() (int64, error) { return io.Copy(io.Discard, peer) })
		_, _ = peer.Write(data) // the other side may hang up before its end
		_ = peer.(*net.UnixConn).CloseWrite()
		checkClose(t, ours)
		receive(t, "the end of the connection", drained)
		checkClose(t, peer)
		if theirs != nil {
			checkClose(t, theirs)
		}
	})
}

// ended is a function that closes.
type ended func()

func (f ended) Close() error {
	f()
	return nil
}

// flagSYN begins a stream (yamux's spec.md).
const flagSYN = 1

// frame is a yamux frame's header.
func frame(kind byte, flags uint16, stream, length uint32) []byte {
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return binary.BigEndian.AppendUint32(b, length)
}

// anyFrame is a policy of no rules.
func anyFrame(mux.Frame) error { return nil }
