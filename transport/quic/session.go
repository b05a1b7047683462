package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// session is the host's end of a connection. It has a socket of its own.
type session struct {
	conn    *quic.Conn
	control *quic.Stream
	calls   *calls
	tr      *quic.Transport
	socket  *net.UDPConn
	limits  limits
	running sync.WaitGroup
	close   func() error // closes the session once
}

// connect makes a connection, and returns it when the plugin has accepted it.
// It asks again while the plugin has no room, even if only for a moment.
func (t *Transport) connect(ctx context.Context, address netip.AddrPort, tlsConfig *tls.Config, keepAlive time.Duration, use byte) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.limits.handshake,
		fmt.Errorf("no answer in %v: %w", t.limits.handshake, os.ErrDeadlineExceeded))
	defer cancel()
	refused := false
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		s, err := t.tryConnect(ctx, address, tlsConfig, keepAlive, use)
		switch {
		case errors.Is(err, &quic.TransportError{ErrorCode: quic.ConnectionRefused, Remote: true}):
			refused = true
		case err == nil, !refused, ctx.Err() == nil:
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the plugin has no room for one more connection: %w", context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

func (t *Transport) tryConnect(ctx context.Context, address netip.AddrPort, tlsConfig *tls.Config, keepAlive time.Duration, use byte) (*session, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", address.String())
	if err != nil {
		return nil, err
	}
	s := &session{socket: conn.(*net.UDPConn), limits: t.limits}
	s.tr = &quic.Transport{Conn: coalesce(peer{s.socket, true})}
	s.close = sync.OnceValue(s.closeAll)
	enlargeBuffers(s.socket)
	cfg := t.config(address.Addr())
	cfg.KeepAlivePeriod = keepAlive // one side is enough
	if use == manyStreams {
		cfg.MaxIncomingStreams = t.limits.streams
	}
	s.conn, err = s.tr.Dial(ctx, net.UDPAddrFromAddrPort(address), tlsConfig, cfg)
	if err == nil {
		s.calls = newCalls(s.conn, t.limits)
		err = s.greet(ctx, use)
	}
	if err == nil && use == manyStreams {
		s.running.Go(s.calls.acceptAll)
	}
	if err != nil {
		return nil, errors.Join(dialError(ctx, err), s.Close())
	}
	return s, nil
}

// greet opens the control stream and waits for the plugin's answer. With TLS
// 1.3, a host whose handshake is over does not know yet whether the plugin
// accepts its certificate (RFC 8446 section 2).
func (s *session) greet(ctx context.Context, use byte) error {
	var err error
	if s.control, err = s.conn.OpenStreamSync(ctx); err != nil {
		return err
	}
	if _, err := s.control.Write([]byte{use}); err != nil {
		return err
	}
	if err := s.control.Close(); err != nil {
		return err
	}
	return within(ctx, s.control, func(r io.Reader) error { return expectByte(r, firstByte) })
}

// OpenStream implements [transport.Session].
func (s *session) OpenStream(ctx context.Context) (net.Conn, error) {
	return s.open(ctx, func() {})
}

func (s *session) open(ctx context.Context, onClose func()) (net.Conn, error) {
	str, err := s.conn.OpenStreamSync(ctx)
	if err == nil {
		_, err = str.Write([]byte{firstByte}) // which does not block
	}
	switch {
	case err == nil:
		return newStream(str, s.calls, onClose), nil
	case s.conn.Context().Err() != nil:
		return nil, fmt.Errorf("quic: open a stream: %w", connError(err))
	default:
		return nil, fmt.Errorf("quic: open a stream: %w", err)
	}
}

// Close implements [transport.Session].
func (s *session) Close() error { return s.close() }

func (s *session) closeAll() error {
	var err error
	if s.conn != nil {
		err = s.conn.CloseWithError(codeDone, "")
	}
	s.running.Wait()
	return errors.Join(err, s.tr.Close(), s.socket.Close())
}

// linger returns at once, and closes the session when the plugin has closed its
// streams too.
func (s *session) linger() {
	go func() {
		_ = s.control.SetReadDeadline(time.Now().Add(s.limits.linger)) // never fails, by its contract
		_, _ = io.Copy(io.Discard, s.control)                          // until the stream ends, with or without an error
		_ = s.Close()                                                  // no caller is left to get the error
	}()
}

// within calls f with a stream whose Read ends with the context.
func within(ctx context.Context, str *quic.Stream, f func(io.Reader) error) error {
	stop := context.AfterFunc(ctx, func() {
		_ = str.SetReadDeadline(time.Now()) // never fails, by its contract
	})
	defer stop()
	return f(str)
}
