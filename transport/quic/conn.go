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

	calls *calls

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
	c := &conn{ln: l, quic: qc, use: use, calls: newCalls(qc, l.limits), over: make(chan struct{})}
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
		admitted := c.take()
		if !admitted && c.use == oneStream {
			refuse(str, codeRefused)
			continue
		}
		streams.Go(func() { c.hand(str, admitted) }) // a late first byte blocks no other stream
	}
}

// hand checks how a stream starts, and gives it to Accept or AcceptStream. One that was not
// admitted can only be for AcceptStream.
func (c *conn) hand(str *quic.Stream, admitted bool) {
	b, err := awaitByte(str, c.ln.limits.firstByte)
	isCall := err == nil && b == callByte && c.use == manyStreams
	isStream := err == nil && b == firstByte
	if isStream && admitted {
		c.handToAccept(str)
		return
	}
	if isStream {
		refuse(str, codeRefused)
	} else if !isCall {
		refuse(str, codeBadStart)
	}
	if admitted {
		c.release()
	}
	if isCall {
		c.calls.give(str)
	}
}

func (c *conn) handToAccept(str *quic.Stream) {
	select {
	case c.ln.streams <- newStream(str, c.calls, c.release):
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
