package transporttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

// dialers are the two ways to open a stream of a Native transport.
var dialers = []way{byAddress, bySession}

// checkNoTLS listens and dials without certificates. Core never does, and a
// transport must not take it for permission to skip authentication.
func checkNoTLS(e *env) {
	address := e.listen().Addr().String()
	e.tls = tlsPair{}
	if ln, err := e.plugin.Listen(e.Context(), e.listenConfig()); err == nil {
		e.keep(ln)
		e.Error("Listen without TLS: no error")
	}
	for _, e.way = range dialers {
		if conn, err := e.dial(e.Context(), address); err == nil {
			e.keep(conn)
			e.Errorf("%sDial without TLS: no error", e.way.prefix())
		}
	}
}

// checkState compares the certificates that both ends have received with the
// pinned ones.
func checkState(e *env) {
	for _, e.way = range dialers {
		ln := e.listen()
		for range 2 {
			dialed, accepted := e.pair(ln)
			e.wantPeer("the end that dialed", dialed, e.tls.plugin)
			e.wantPeer("the end that accepted", accepted, e.tls.host)
		}
	}
	if e.tls.plugin.NextProtos != nil || e.tls.host.NextProtos != nil {
		e.Error("the transport changed a TLS configuration that it was given, instead of a clone")
	}
}

// wantPeer checks that the other end of conn has the certificate of cfg.
func (e *env) wantPeer(end string, conn net.Conn, cfg *tls.Config) {
	e.Helper()
	secured, ok := conn.(transport.SecureConn)
	if !ok {
		e.Fatalf("%s: %T does not implement transport.SecureConn", end, conn)
	}
	state := secured.ConnectionState()
	if !state.HandshakeComplete {
		e.Errorf("%s: the handshake is not complete", end)
	}
	if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, cfg.Certificates[0].Certificate[0]) {
		e.Errorf("%s: its peer does not have the pinned certificate", end)
	}
}

// checkWrongCertificate dials with pairs in which one side has another certificate than
// the other side expects. The listener keeps working.
func checkWrongCertificate(e *env) {
	right := e.tls
	other, err := newTLSPair()
	if err != nil {
		e.Fatal(err)
	}
	anonymous := right.host.Clone()
	anonymous.Certificates = nil
	stranger := right.host.Clone() // this host knows the plugin, but the plugin does not know the host
	stranger.Certificates = other.host.Certificates

	ln := e.listen()
	for name, cfg := range map[string]*tls.Config{
		"a host without a certificate":                     anonymous,
		"a host with another certificate":                  stranger,
		"a plugin with another certificate":                withPeer(right.host, other.plugin),
		"a host and a plugin that do not know one another": other.host,
	} {
		e.tls.host = cfg
		for _, e.way = range dialers {
			start := time.Now()
			if err := e.use(ln.Addr().String()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				e.Errorf("%s: %sDial and a Read gave %v after %v, want to be refused", name, e.way.prefix(), err, time.Since(start))
			}
		}
	}

	// Accept has returned none of the refused streams. It returns the next one.
	e.tls, e.way = right, byAddress
	dialed, accepted := e.pair(e.link(ln))
	e.wantPeer("the end that accepted, after others were refused", accepted, right.host)
	if !e.Failed() {
		if err := transfer(dialed, accepted, 1000, 1); err != nil {
			e.Errorf("after others were refused: %v", err)
		}
	}
}

// withPeer returns a copy of cfg that accepts only the certificate of peer.
func withPeer(cfg, peer *tls.Config) *tls.Config {
	return pinned(cfg.Certificates[0], peer.Certificates[0])
}

// refusalTime is how long a host may take to learn that it was refused.
const refusalTime = 5 * time.Second

// use dials and reads, and returns the first error. With TLS 1.3 a host may
// learn only from its first Read that the plugin has refused it.
func (e *env) use(address string) error {
	ctx, cancel := context.WithTimeout(e.Context(), limit/2)
	defer cancel()
	conn, err := e.opener(address)(ctx)
	if ctx.Err() != nil {
		return os.ErrDeadlineExceeded
	}
	if err != nil {
		return err
	}
	e.keep(conn)
	if err := conn.SetDeadline(time.Now().Add(refusalTime)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// unreadStreams is how many streams of a session are written to and not read.
// It is so large that the check fails for a transport that applies the limit of
// one stream to the whole connection.
const unreadStreams = 16

// checkUnreadStreams fills streams in both directions without reading them.
// Other streams must keep working, and so must these once they are read.
func checkUnreadStreams(e *env) {
	ln := e.listen()
	type stream struct {
		from, to net.Conn
		sent     int64
		written  <-chan error
	}
	streams := make([]*stream, unreadStreams)
	for i := range streams {
		s := new(stream)
		s.from, s.to = e.pair(ln)
		if i%2 == 1 {
			s.from, s.to = s.to, s.from
		}
		s.written = start(func() (err error) {
			s.sent, err = fill(s.from, i)
			return err
		})
		streams[i] = s
	}
	for i, s := range streams {
		if err := <-s.written; err != nil {
			e.Fatalf("stream %d: %v", i, err)
		}
	}
	beside := func(what string) {
		dialed, accepted := e.pair(ln)
		back := start(func() error { return transfer(accepted, dialed, 1<<20, 1) })
		if err := errors.Join(transfer(dialed, accepted, 1<<20, 2), <-back); err != nil {
			e.Errorf("a stream beside %s: %v", what, err)
		}
	}
	beside("streams that are not read")
	for i, s := range streams {
		// Read one half of the streams to the end, and close the other half
		// unread.
		if i < unreadStreams/2 {
			if err := receive(s.to, s.sent, i); err != nil {
				e.Errorf("stream %d, read late: %v", i, err)
			}
		}
		if err := errors.Join(s.to.Close(), s.from.Close()); err != nil {
			e.Errorf("stream %d: Close: %v", i, err)
		}
	}
	beside("streams that ended unread")
}

// shortStreams is more than the streams that any sensible configuration lets a
// peer have open at one time. So the check passes only if streams that have
// ended make room for others.
const shortStreams = 500

// checkShortStreams opens streams one after the other on one session. It uses
// each way to end a stream in turn.
func checkShortStreams(e *env) {
	ln := e.listen()
	for i := range shortStreams {
		dialed, accepted, err := e.connect(ln)
		if err != nil {
			e.Fatalf("stream %d: %v", i, err)
		}
		first, last := dialed, accepted
		if i%2 == 1 {
			first, last = last, first
		}
		if i%4 < 2 { // in the other rounds both ends are closed with bytes unread
			err = transfer(dialed, accepted, 100, i)
		} else {
			_, err = first.Write(make([]byte, 100))
		}
		if err := errors.Join(err, first.Close(), last.Close()); err != nil {
			e.Fatalf("stream %d: %v", i, err)
		}
	}
}

// checkSessionClose closes a session with streams on which either end is
// blocked. Another session of the same listener keeps working.
func checkSessionClose(e *env) {
	ln := e.listen()
	session, err := e.dialSession(e.Context(), ln.Addr().String())
	if err != nil {
		e.Fatal(err)
	}
	e.keep(session)
	one := &link{ln, session.OpenStream}
	opened, accepted := e.pair(one)
	full, unread := e.pair(one)
	overfull, ignored := e.pair(one)
	dialed, other := e.pair(ln) // of another session

	read := func(conn net.Conn) <-chan error {
		return start(func() error {
			_, err := conn.Read(make([]byte, 1))
			return err
		})
	}
	write := func(conn, to net.Conn) <-chan error {
		written := start(func() error {
			_, err := conn.Write(make([]byte, maxInFlight))
			return err
		})
		// The first byte tells that Write has begun. Write cannot end.
		if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
			e.Fatal(err)
		}
		return written
	}
	host := map[string]<-chan error{"Read": read(opened), "Write": write(full, unread)}
	plugin := map[string]<-chan error{"Read": read(accepted), "Write": write(ignored, overfull)}
	yield()
	if err := session.Close(); err != nil {
		e.Errorf("Close: %v", err)
	}
	for name, result := range host {
		if err := <-result; !errors.Is(err, net.ErrClosed) {
			e.Errorf("%s at the host's end while the session is closed: %v, want net.ErrClosed", name, err)
		}
	}
	for name, result := range plugin {
		if err := <-result; err == nil || errors.Is(err, io.EOF) {
			e.Errorf("%s at the plugin's end while the session is closed: %v, want an error other than io.EOF, which means a complete stream", name, err)
		}
	}
	if conn, err := session.OpenStream(e.Context()); !errors.Is(err, net.ErrClosed) {
		if err == nil {
			e.keep(conn)
		}
		e.Errorf("OpenStream after Close: %v, want net.ErrClosed", err)
	}
	if err := closeAgain(session); err != nil {
		e.Errorf("second Close: %v, want nil or net.ErrClosed", err)
	}
	if err := errors.Join(transfer(dialed, other, 1000, 1), transfer(other, dialed, 1000, 2)); err != nil {
		e.Errorf("a stream of another session: %v", err)
	}
}
