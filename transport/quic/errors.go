package quic

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

// streamError translates the error of a call on a stream into one of package
// net.
func streamError(err error) error {
	if str, ok := errors.AsType[*quic.StreamError](err); ok {
		switch str.ErrorCode {
		case codeClosed:
			return fmt.Errorf("the peer has closed the stream: %w", syscall.EPIPE)
		case codeRefused:
			return fmt.Errorf("%w, because it takes no more streams: %w", transport.ErrNotAccepted, syscall.ECONNREFUSED)
		case codeBadStart:
			return fmt.Errorf("%w: %w: %w", transport.ErrNotAccepted, err, syscall.ECONNRESET)
		default:
			if str.ErrorCode >= firstFreeCode && str.ErrorCode <= math.MaxUint32 {
				return &transport.CanceledError{Code: uint32(str.ErrorCode)}
			}
			return fmt.Errorf("%w: %w", err, syscall.ECONNRESET)
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case errors.Is(err, quic.ErrStreamClosed), err == net.ErrClosed: //nolint:errorlint // any other says more
		return net.ErrClosed
	default:
		return connError(err)
	}
}

// goneError is the end of a connection. It satisfies errors.Is(err,
// net.ErrClosed), and is never a timeout, because callers try again after
// timeouts.
type goneError struct {
	text  string
	cause error
}

func (e *goneError) Error() string   { return e.text }
func (e *goneError) Unwrap() []error { return []error{net.ErrClosed, e.cause} }

// connError says what ended a connection.
func connError(err error) error {
	if app, ok := errors.AsType[*quic.ApplicationError](err); ok {
		switch {
		case !app.Remote:
			return net.ErrClosed
		case app.ErrorCode == codeDone:
			return &goneError{"the peer has closed the connection", err}
		default:
			return &goneError{fmt.Sprintf("the peer has closed the connection: %q", app.ErrorMessage), err}
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok { // an error of the socket
		return &goneError{"the connection is lost: " + op.Error(), err}
	}
	if idle, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return &goneError{"the connection is lost: nothing came from the peer for too long", idle}
	}
	return &goneError{"the connection is lost: " + err.Error(), err}
}

// dialError says why there is no connection.
func dialError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if t, ok := errors.AsType[*quic.TransportError](err); ok && t.ErrorCode.IsCryptoError() {
		if t.Remote {
			return fmt.Errorf("the plugin refused the TLS handshake: %w", err)
		}
		return fmt.Errorf("TLS handshake: %w", err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok { // an error of the socket
		return op
	}
	return err
}
