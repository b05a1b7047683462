package multiplex

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/internal/streamtest"
)

// pair connects both ends, with TLS in each stream, and returns them with the two ends of
// the stream for calls.
func pair(t *testing.T) (h *HostEnd, p *PluginEnd, calls, served net.Conn) {
	t.Helper()
	host, plugin := newIdentity(t), newIdentity(t)
	h, p = connect(t, secure.MutualTLS(host, plugin.DER()), secure.MutualTLS(plugin, host.DER()))
	stream, err := h.Session().Open(streamtest.Bounded(t), session.Preamble{Purpose: session.Calls})
	if err != nil {
		t.Fatal(err)
	}
	if stream.Info.Security != handshake.SecurityMTLS {
		t.Errorf("security %q", stream.Info.Security)
	}
	accepted, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, accepted, stream) })
	return h, p, stream, accepted
}

// listen returns a plugin's end, which ends with the test.
func listen(t *testing.T, creds *secure.Credentials) *PluginEnd {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := NewPluginEnd(ln, creds, nil)
	t.Cleanup(p.End)
	return p
}

func dial(t *testing.T, p *PluginEnd) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// connect returns both ends, which end with the test.
func connect(t *testing.T, host, plugin *secure.Credentials) (*HostEnd, *PluginEnd) {
	t.Helper()
	p := listen(t, plugin)
	h, err := NewHostEnd(streamtest.Bounded(t), dial(t, p), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, h.mux) })
	return h, p
}

// opener is either end of a session.
type opener interface {
	OpenStream(ctx context.Context) (net.Conn, error)
	Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error)
}

// open opens a stream that the other side expects.
func open(t *testing.T, from opener) (net.Conn, error) {
	t.Helper()
	stream, err := from.OpenStream(streamtest.Bounded(t))
	if err != nil {
		return nil, err
	}
	stream, _, err = from.Authenticate(streamtest.Bounded(t), stream)
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

// TestMultiplexed opens announced streams both ways, beside the one for calls.
func TestMultiplexed(t *testing.T) {
	s, l, calls, served := pair(t)
	for range 3 {
		came := make(chan *session.Stream, 2)
		if !s.Expect(func(x *session.Stream) { came <- x }) || !l.Expect(func(x *session.Stream) { came <- x }) {
			t.Fatal("too many are expected")
		}
		fromPlugin, err := open(t, l)
		if err != nil {
			t.Fatal(err)
		}
		atHost := streamtest.Receive(t, "the plugin's stream", came)
		streamtest.CheckPassing(t, fromPlugin, atHost)
		fromHost, err := open(t, s)
		if err != nil {
			t.Fatal(err)
		}
		atPlugin := streamtest.Receive(t, "the host's stream", came)
		streamtest.CheckPassing(t, fromHost, atPlugin)
		if atPlugin.Info.Security != handshake.SecurityMTLS || atHost.Info.Security != handshake.SecurityMTLS {
			t.Errorf("security %q and %q", atPlugin.Info.Security, atHost.Info.Security)
		}
		streamtest.CheckClose(t, fromPlugin, atHost, fromHost, atPlugin)
	}
	streamtest.CheckPassing(t, calls, served)
	// A stream of the host's that was not announced is another one for calls.
	again, err := open(t, s)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	streamtest.CheckPassing(t, again, accepted)
	streamtest.CheckClose(t, again, accepted)
}

// TestUnannouncedStreams opens streams that the plugin has not announced. The host refuses
// each, and the connection goes on.
func TestUnannouncedStreams(t *testing.T) {
	s, l, calls, served := pair(t)
	for range 2 * session.MaxPending {
		if conn, err := open(t, l); err == nil {
			t.Error("a stream that was not announced was let in")
			streamtest.CheckClose(t, conn)
		}
	}
	streamtest.CheckPassing(t, calls, served)
	came := make(chan *session.Stream, 1)
	if !s.Expect(func(x *session.Stream) { came <- x }) {
		t.Fatal("too many are expected")
	}
	fromPlugin, err := open(t, l)
	if err != nil {
		t.Fatal(err)
	}
	atHost := streamtest.Receive(t, "the plugin's stream", came)
	streamtest.CheckPassing(t, fromPlugin, atHost)
	streamtest.CheckClose(t, fromPlugin, atHost)
}

// dialStranger connects without a certificate. It returns how the connection ends, the
// connection, and the session on it.
func dialStranger(t *testing.T, l *PluginEnd) (ended <-chan streamtest.Result[int64], conn net.Conn, m *mux.Session) {
	t.Helper()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ended = streamtest.Go(func() (int64, error) { return io.Copy(io.Discard, conn) })
	await(t, "the connection is not accepted", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for m = range l.carriers {
			if !l.carriers[m].Load() {
				return true
			}
		}
		return false
	})
	return ended, conn, m
}

// await polls for a state that nothing announces.
func await(t *testing.T, otherwise string, state func() bool) {
	t.Helper()
	for ctx := streamtest.Bounded(t); !state(); {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestStreamsOfStrangers opens many streams on a connection before it authenticates. The
// plugin ends that connection, and not the host's.
func TestStreamsOfStrangers(t *testing.T) {
	_, l, calls, served := pair(t)
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
	streamtest.Receive(t, "the end of the connection", ended)
	if _, err := m.Accept(); !errors.Is(err, errOpenedEarly) {
		t.Errorf("it ended with %v, want %v", err, errOpenedEarly)
	}
	streamtest.CheckClose(t, conn)
	streamtest.CheckPassing(t, calls, served)
}

// TestRefusedStreamsAreBounded opens streams that are refused, and closes none of them. The
// plugin holds a bounded number of them.
func TestRefusedStreamsAreBounded(t *testing.T) {
	_, l, calls, served := pair(t)
	ended, conn, m := dialStranger(t, l)
	l.mu.Lock()
	l.carriers[m].Store(true) // as if it had authenticated
	l.mu.Unlock()
	const junk, opened = "junk!", 250 // fewer than what yamux holds for Accept; more would be reset
	for i := range uint32(opened) {
		data := slices.Concat(frame(1, flagSYN, 2*i+1, 0), frame(0, 0, 2*i+1, uint32(len(junk))), []byte(junk))
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	const flagFIN, accepted = 4, session.MaxPending + 1 // the last waits for a slot
	await(t, "the streams do not wait for a slot", func() bool {
		return m.Streams() == accepted
	})
	for i := range uint32(opened) {
		if _, err := conn.Write(frame(1, flagFIN, 2*i+1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "streams that both sides have closed are held", func() bool { return m.Streams() == 0 })
	streamtest.CheckClose(t, conn)
	streamtest.Receive(t, "the end of the connection", ended)
	streamtest.CheckPassing(t, calls, served)
}

// TestStreamOfAnother connects without the host's certificate. That connection gets no stream,
// and does not take the place of a stream that the host has announced.
func TestStreamOfAnother(t *testing.T) {
	s, l, calls, served := pair(t)
	came := make(chan *session.Stream, 1)
	if !l.Expect(func(x *session.Stream) { came <- x }) {
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
	stranger := session.New(another.Open, secure.MutualTLS(newIdentity(t), newIdentity(t).DER()), another.Close)
	if stream, err := stranger.Open(streamtest.Bounded(t), session.Preamble{Purpose: session.Calls}); err == nil {
		_ = stream.SetDeadline(time.Now().Add(streamtest.Hang)) // TLS 1.3 tells the client when it reads
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
	atPlugin := streamtest.Receive(t, "the host's stream", came)
	streamtest.CheckPassing(t, fromHost, atPlugin)
	streamtest.CheckClose(t, fromHost, atPlugin)
	streamtest.CheckPassing(t, calls, served)
}

// TestStrangers opens connections that say nothing. Their number is bounded, and the plugin
// ends them but not the host's.
func TestStrangers(t *testing.T) {
	_, l, calls, served := pair(t)
	began := time.Now()
	ends := make(chan error)
	for range session.MaxPending + 1 {
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
	if err := streamtest.Receive(t, "the end of one too many", ends); err == nil {
		t.Error("something was said to it")
	}
	l.mu.Lock()
	muxes := slices.Collect(maps.Keys(l.carriers))
	l.mu.Unlock()
	if len(muxes) != session.MaxPending+1 && time.Since(began) < session.AdmitTimeout {
		t.Errorf("%d sessions, want the host's and %d", len(muxes), session.MaxPending)
	}
	for _, m := range muxes {
		l.endStranger(m) // as the timer of each does
	}
	for range session.MaxPending {
		streamtest.Receive(t, "the end of a stranger", ends)
	}
	streamtest.CheckPassing(t, calls, served)
}

// TestAnnouncements checks that announcements expire, and that their number is bounded.
func TestAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e announcements
		var got []int
		add := func(i int) bool { return e.add(func(*session.Stream) { got = append(got, i) }) }
		for i := range maxAnnounced {
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
		time.Sleep(announcedFor + time.Second)
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

// TestLimitedPings checks that a peer may ping as often as go-plugin does, without end, and not
// much more often.
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

// FuzzMultiplexed sends random bytes to either side, and leaves. The side ends, and nothing of
// it is left.
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
		var ours io.Closer
		var peer net.Conn
		if host {
			p := listen(t, secure.Plaintext())
			p.Expect(func(s *session.Stream) { _ = s.Close() })
			peer, ours = dial(t, p), endFunc(p.End)
		} else {
			ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			conn, err := net.Dial("unix", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			h, err := NewHostEnd(streamtest.Bounded(t), conn, secure.Plaintext())
			if err != nil {
				t.Fatal(err)
			}
			h.Expect(func(s *session.Stream) { _ = s.Close() })
			if peer, err = ln.Accept(); err != nil {
				t.Fatal(err)
			}
			ours = h.mux
		}
		drained := streamtest.Go(func() (int64, error) { return io.Copy(io.Discard, peer) })
		_, _ = peer.Write(data) // the other side may hang up before its end
		_ = peer.(*net.UnixConn).CloseWrite()
		streamtest.CheckClose(t, ours)
		streamtest.Receive(t, "the end of the connection", drained)
		streamtest.CheckClose(t, peer)
	})
}

// endFunc is a function that closes.
type endFunc func()

func (f endFunc) Close() error {
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
