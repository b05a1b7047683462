package quic

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// conn is the plugin's end of a connection.
type conn struct {
	ln   *listener
	quic *quic.Conn
	use  byte

	over chan struct{} // closed when no stream is left and no more can come

	mu   sync.Mutex // guards what follows
	live int        // streams that are not closed by their owner
	last bool       // no more streams are accepted
}

// serve hands the streams of a connection to Accept, until the connection ends.
// It ends the connection itself when no more streams can come.
func (l *listener) serve(ctx context.Context, qc *quic.Conn) {
	control, use, err := l.greet(ctx, qc)
	if err != nil {
		_ = qc.CloseWithError(codeProtocol, err.Error()) // always nil
		return
	}
	c := &conn{ln: l, quic: qc, use: use, over: make(chan struct{})}
	var streams sync.WaitGroup
	streams.Go(func() { c.acceptStreams(&streams) })
	stop := context.AfterFunc(ctx, c.takeNoMore)
	select {
	case <-c.over:
		_ = control.Close() // the host learns that its streams are closed
		select {
		case <-time.After(l.limits.linger):
		case <-qc.Context().Done():
		}
		_ = qc.CloseWithError(codeDone, "") // always nil
	case <-qc.Context().Done():
	}
	stop()
	streams.Wait()
}

// greet accepts the control stream and answers.
func (l *listener) greet(ctx context.Context, qc *quic.Conn) (control *quic.Stream, use byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.limits.handshake)
	defer cancel()
	if control, err = qc.AcceptStream(ctx); err != nil {
		return nil, 0, fmt.Errorf("no control stream: %w", err)
	}
	err = within(ctx, control, func(r io.Reader) (err error) {
		use, err = readByte(r)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("control stream: %w", err)
	}
	if use != manyStreams && use != oneStream {
		return nil, 0, fmt.Errorf("control stream: byte %#x is unknown", use)
	}
	if _, err := control.Write([]byte{firstByte}); err != nil {
		return nil, 0, fmt.Errorf("control stream: %w", err)
	}
	return control, use, nil
}

// acceptStreams returns when the connection has ended.
func (c *conn) acceptStreams(streams *sync.WaitGroup) {
	for {
		str, err := c.quic.AcceptStream(context.Background())
		if err != nil {
			return
		}
		if !c.take() {
			refuse(str, codeRefused)
			continue
		}
		streams.Go(func() { c.hand(str) }) // a late first byte blocks no other stream
	}
}

// hand checks how a stream starts and gives it to Accept.
func (c *conn) hand(str *quic.Stream) {
	_ = str.SetReadDeadline(time.Now().Add(c.ln.limits.firstByte)) // never fails, by its contract
	if err := expectFirstByte(str); err != nil {
		refuse(str, codeBadStart)
		c.release()
		return
	}
	_ = str.SetReadDeadline(time.Time{})
	select {
	case c.ln.streams <- newStream(str, c.quic, c.release):
	case <-c.ln.closed:
		refuse(str, codeRefused)
		c.release()
	case <-c.quic.Context().Done():
		c.release()
	}
}

// take counts a new stream. It reports whether the connection may have one
// more.
func (c *conn) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last {
		return false
	}
	c.live++
	c.last = c.use == oneStream
	return true
}

// release is called when the owner of a counted stream closes it.
func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live--
	if c.last && c.live == 0 {
		close(c.over)
	}
}

// takeNoMore is called when the listener is closed.
func (c *conn) takeNoMore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last && c.live == 0 {
		close(c.over)
	}
	c.last = true
}
