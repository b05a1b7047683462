package quic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

// calls are the streams of a connection that either side opens for the other side's
// AcceptStream: the wires use them for calls.
type calls struct {
	conn   *quic.Conn
	limits limits
	came   chan *quic.Stream // streams whose first byte has come
}

var (
	_ transport.Multiplexer      = (*stream)(nil)
	_ transport.CancelableStream = (*stream)(nil)
)

func newCalls(conn *quic.Conn, limits limits) *calls {
	return &calls{conn: conn, limits: limits, came: make(chan *quic.Stream)}
}

// OpenStream implements [transport.Multiplexer].
func (c *calls) OpenStream() (transport.CancelableStream, error) {
	str, err := c.conn.OpenStream()
	if err == nil {
		_, err = str.Write([]byte{callByte}) // which does not block
	}
	switch {
	case err == nil:
		return newStream(str, c, func() {}), nil
	case errors.Is(err, &quic.StreamLimitReachedError{}):
		return nil, fmt.Errorf("quic: open a stream: %w: the limit is %d", transport.ErrStreamLimit, c.limits.streams)
	default:
		return nil, fmt.Errorf("quic: open a stream: %w", connError(err))
	}
}

// AcceptStream implements [transport.Multiplexer].
func (c *calls) AcceptStream(ctx context.Context) (transport.CancelableStream, error) {
	select {
	case str := <-c.came:
		return newStream(str, c, func() {}), nil
	case <-c.conn.Context().Done():
		return nil, fmt.Errorf("quic: accept a stream: %w", connError(context.Cause(c.conn.Context())))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// give hands a stream to AcceptStream. With other wires nobody calls that.
func (c *calls) give(str *quic.Stream) {
	timer := time.NewTimer(c.limits.firstByte)
	defer timer.Stop()
	select {
	case c.came <- str:
	case <-timer.C:
		refuse(str, codeRefused)
	case <-c.conn.Context().Done():
	}
}

// acceptFrom accepts the streams that a plugin opens, which are all for AcceptStream. It
// returns when the connection has ended.
func (c *calls) acceptAll() {
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		str, err := c.conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		streams.Go(func() { // a late first byte blocks no other stream
			if b, err := awaitByte(str, c.limits.firstByte); err != nil || b != callByte {
				refuse(str, codeBadStart)
				return
			}
			c.give(str)
		})
	}
}

// awaitByte reads the byte that starts a stream, and waits no longer than that for it.
func awaitByte(str *quic.Stream, patience time.Duration) (byte, error) {
	_ = str.SetReadDeadline(time.Now().Add(patience)) // never fails, by its contract
	b, err := readByte(str)
	_ = str.SetReadDeadline(time.Time{})
	return b, err
}
