package h2

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

const (
	// redialTimeout bounds one attempt to connect again, from the dial to the other
	// side's first bytes of HTTP/2. It is grpc's limit on the first attempt as well,
	// which the context of Connect bounds too.
	redialTimeout = time.Minute
	// redialPause is how long a connection must last before the next one may be dialed
	// without a call that needs it. So a server that accepts and ends connections at once
	// causes ten dials a second.
	redialPause = 100 * time.Millisecond
	// lossPatience is how long a failed call waits for the reason, when the other side
	// cannot be dialed and has not ended either. Later calls do not wait again.
	lossPatience = time.Second
)

// redialBackoff is how long grpc waits between attempts that fail. Both ends are on
// one machine.
var redialBackoff = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second}

// dialer provides the connection for outgoing calls. If the other side may end that
// connection and live on, dialer dials another.
type dialer struct {
	other  string
	mark   string                                      // ends the text of each error of dial, and of no other error
	redial func(ctx context.Context) (net.Conn, error) // nil: the first connection is the only one

	mu      sync.Mutex // guards the fields below
	conns   []net.Conn // connections that may be open; new calls use the last, the others have calls in flight
	taken   bool       // grpc has the first connection
	closed  bool       // close was called
	failing time.Time  // when the attempts began to fail
	err     error      // the error of the last attempt, nil if it succeeded
}

func newDialer(other string, link Link) *dialer {
	return &dialer{other: other, mark: " (" + rand.Text() + ")", redial: link.Redial, conns: []net.Conn{track(link.Stream.Conn)}}
}

// dial is what grpc calls when it needs a connection.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, d.mark)
	}
	return conn, nil
}

// isOwn reports whether err is grpc's for a call that found no connection, because dial
// had failed. grpc has the same code for a call whose connection was lost later, and says
// which it was only in its text. The mark tells them apart with certainty: no handler
// knows it. The returned error is err without the mark.
func (d *dialer) isOwn(err error) (error, bool) {
	s := status.Convert(err)
	if !strings.Contains(s.Message(), d.mark) {
		return err, false
	}
	p := s.Proto()
	p.Message = strings.ReplaceAll(p.GetMessage(), d.mark, "")
	return status.ErrorProto(p), true
}

// connect returns the first connection, or dials another.
func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	d.mu.Lock()
	first := d.conns[0]
	taken := d.taken
	d.taken = true
	d.mu.Unlock()
	if !taken {
		return first, nil // it was opened before
	}
	if d.redial == nil {
		// A new connection would hide that the plugin has died.
		return nil, fmt.Errorf("the %s is shutting down, or the connection to it was lost", d.other)
	}
	conn, err := d.redial(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && d.closed {
		err = errors.Join(net.ErrClosed, conn.Close())
	}
	switch {
	case err != nil && d.err == nil:
		d.failing = time.Now()
	case err == nil:
		conn = track(conn)
		d.conns = append(slices.DeleteFunc(d.conns, isLost), conn)
	}
	d.err = err
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// isBroken reports whether the connection for new calls is closed.
func (d *dialer) isBroken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return isLost(d.conns[len(d.conns)-1])
}

// failure returns why the last attempt failed, nil if it did not.
func (d *dialer) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// patience returns how long a call waits to learn why it has failed.
func (d *dialer) patience() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		return lossPatience
	}
	return lossPatience - time.Since(d.failing)
}

// close closes all connections. No other is dialed after it.
func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, conn := range d.conns {
		_ = conn.Close() // the error concerns nobody: no call is left on it
	}
}

// Reach waits until calls can be made, and dials for that if this peer dials again.
// An error says why they cannot.
func (c *Client) Reach(ctx context.Context) error {
	for {
		state := c.conn.GetState()
		switch state {
		case connectivity.Ready:
			if !c.dialer.isBroken() {
				return nil
			} // else grpc is about to notice
		case connectivity.Shutdown:
			return ErrClosed
		case connectivity.TransientFailure:
			if err := c.dialer.failure(); err != nil {
				return err
			}
			// Calls can be made a moment before grpc says so, or the other side does not
			// begin HTTP/2 on the new connection.
		default:
			c.conn.Connect() // also if it does already
		}
		if !c.conn.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
	}
}

// keep dials again when the connection is lost, until that fails or ctx ends. It
// reports whether it was ctx.
func (c *Client) keep(ctx context.Context) bool {
	for {
		since := time.Now()
		if !c.conn.WaitForStateChange(ctx, connectivity.Ready) {
			return true
		}
		if c.dialer.redial == nil {
			return false
		}
		pause := time.NewTimer(redialPause - time.Since(since))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return true
		}
		reaching, cancel := context.WithTimeout(ctx, redialTimeout)
		err := c.Reach(reaching)
		cancel()
		if err != nil {
			return ctx.Err() != nil
		}
	}
}

// explainCut returns the error of a call whose connection is gone. If the other side
// has ended, that is the reason of its end; otherwise it is err, grpc's own. explainCut
// dials again to find out which.
func (c *Client) explainCut(ctx context.Context, err error) error {
	ended, reached := c.awaitLoss(ctx)
	if ended || !reached && c.isEnding() {
		// The owner of the peer finds out how, and calls Fail in bounded time.
		patience := time.NewTimer(reasonPatience)
		defer patience.Stop()
		select {
		case <-c.failed:
		case <-ctx.Done():
		case <-patience.C:
		}
	}
	dialErr := c.dialer.failure()
	switch {
	case c.hasFailed():
		return c.because(status.Code(err), ctx.Err())
	case reached:
		return err
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case dialErr == nil:
		return err
	}
	return calls.LostError(nil, fmt.Errorf("the %s has ended the connection, goes on running, and cannot be dialed again: %w", c.dialer.other, dialErr))
}

func (c *Client) isEnding() bool { return c.ending != nil && c.ending() }

// awaitLoss waits until the other side has ended or calls can be made again, but no
// longer than a call should wait for either.
func (c *Client) awaitLoss(ctx context.Context) (ended, reached bool) {
	ctx, cancel := context.WithTimeout(ctx, c.dialer.patience())
	var err error // of Reach, once done is closed
	done := make(chan struct{})
	defer func() { <-done }()
	defer cancel()
	go func() {
		defer close(done)
		err = c.Reach(ctx)
	}()
	select {
	case <-c.failed:
	case <-c.gone:
	case <-done:
		if err == nil {
			return c.hasFailed(), true
		}
		// It cannot be dialed: a process that is about to end closes its sockets first.
		select {
		case <-c.failed:
		case <-c.gone:
		case <-ctx.Done():
			return c.hasFailed(), false
		}
	}
	return true, false
}
