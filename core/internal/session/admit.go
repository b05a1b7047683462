package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/plugwire/plugwire/core/internal/secure"
)

const (
	// MaxPending bounds the streams of one address, or of one connection that carries
	// others, that are accepted and not yet admitted, and those that [mux.Refuse] holds.
	// Further streams wait, since a host may open a thousand at once. The bound is for other
	// processes that can reach the address.
	MaxPending = 64
	// AdmitTimeout is how long a stream may take to say what it is for and to authenticate.
	// It is generous: both ends are on one machine, which may be starting a hundred plugins.
	AdmitTimeout = 10 * time.Second
	// maxAcceptDelay bounds the pause after an Accept that failed for a temporary reason,
	// such as too many open files.
	maxAcceptDelay = time.Second
)

// AcceptEach calls handle with each connection that ln accepts, until ln ends. It retries
// after temporary errors, and warns logger, if that is not nil, about the first. Once ctx
// has ended it closes what comes, and the end of ln is not an error.
func AcceptEach(ctx context.Context, ln net.Listener, logger *slog.Logger, handle func(net.Conn)) error {
	var delay time.Duration
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err != nil {
				return nil //nolint:nilerr // ln was closed
			}
			_ = conn.Close() // it came too late
			continue
		}
		if isTemporary(err) {
			if delay == 0 && logger != nil {
				logger.Warn("no connection can be accepted; it is tried again", "error", err)
			}
			delay = min(max(2*delay, time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			return err
		}
		delay = 0
		handle(conn)
	}
}

// isTemporary reports whether Accept may work later. grpc and net/http decide in the same
// way.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// Admit authenticates both sides of a stream for calls that the other side has opened, and
// that has no preamble. With an error the stream is still the caller's.
func Admit(conn net.Conn, creds *secure.Credentials) (*Stream, error) {
	_, s, err := authenticate(conn, admission{creds: creds})
	return s, err
}

// Introduce authenticates both sides of a stream that this side has opened, and that has no
// preamble. The context bounds only that. Introduce owns conn.
func Introduce(ctx context.Context, conn net.Conn, creds *secure.Credentials) (*Stream, error) {
	stream, info, err := within(ctx, conn, func() (net.Conn, secure.Info, error) { return introduce(ctx, conn, creds) })
	if err != nil {
		return nil, err
	}
	return &Stream{Conn: stream, Info: info}, nil
}

func introduce(ctx context.Context, conn net.Conn, creds *secure.Credentials) (net.Conn, secure.Info, error) {
	stream, info, err := creds.Client(ctx, conn)
	if err != nil {
		return nil, secure.Info{}, fmt.Errorf("authenticate by %s: %w", creds.Security(), err)
	}
	return stream, info, nil
}

// within calls begin, and closes conn when ctx ends first, so that a blocked write ends. It
// closes conn after an error too.
func within(ctx context.Context, conn net.Conn, begin func() (net.Conn, secure.Info, error)) (net.Conn, secure.Info, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	stream, info, err := begin()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, secure.Info{}, err
	}
	return stream, info, nil
}
