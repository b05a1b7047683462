// Package h2 carries calls over HTTP/2, with grpc-go. No other package knows HTTP/2.
//
// It wants one stream of a session for calls. If the host serves something, it wants another
// for callbacks, because a connection of HTTP/2 has a client and a server.
package h2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/plugwire/plugwire/core/internal/meter"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// connectTimeout bounds how long an accepted stream may take to begin HTTP/2.
// Generous, because both ends are on one machine, which may be starting a
// hundred plugins.
const connectTimeout = 10 * time.Second

// maxConnectTimeout is grpc's limit on one attempt to connect. grpc's default is 20 s.
// The context of Connect is the limit that counts, and is always shorter.
const maxConnectTimeout = 24 * time.Hour

const (
	// callWindow is how much of one call of the other side, in bytes, is buffered for a
	// handler that reads slowly. The other side decides how many calls there are, so
	// callWindow is less than streamWindow: all calls that the limit allows fill 256 MiB.
	// A larger message gets a window of its own size while a handler reads it.
	callWindow = 128 << 10
	// streamWindow is how much of one call's stream, in bytes, is buffered for a slow
	// reader. It is fixed. To find a window, grpc sends a ping with almost every message,
	// and a short call then waits behind the ping. On one machine, less than a megabyte
	// is ever on its way.
	streamWindow = 1 << 20
	// connWindow is how much of all streams is on its way. grpc gives it back when data
	// arrives, read or not, so that no stream waits for another.
	connWindow = 16 << 20
	// maxHeaders bounds the metadata of an answer, and the text and details of an error,
	// in bytes. gRPC has the same default. This side tells it to the other side: headers
	// that are too large then end a call there and not the connection here.
	maxHeaders = 16 << 20
)

// Link is what a [Client] runs on.
type Link struct {
	// Stream is the first connection. The Client closes it.
	Stream *session.Stream
	// Redial, if set, opens another connection when the other side has ended the last
	// one. It is bounded by its context, and may be called by several goroutines at once.
	Redial func(ctx context.Context) (net.Conn, error)
	// Gone is what [calls.Renewal.Gone] returns. It is for a Link with Redial.
	Gone <-chan struct{}
	// Ending is [calls.Renewal.Ending].
	Ending func() bool
}

// Client makes calls. It implements [calls.Client].
type Client struct {
	conn    *grpc.ClientConn
	dialer  *dialer
	gone    <-chan struct{} // Link.Gone
	ending  func() bool     // Link.Ending
	other   string
	callers *Server                      // serves the other side's calls, if this side does; else nil
	stalled func() string                // may be nil
	meter   *meter.Meter                 // nil if calls are not counted
	control func(fullMethod string) bool // reports which methods are the framework's own
	unlog   func()                       // stops grpc's errors going to the logger of this Client

	over   atomic.Bool   // set when no call can be sent any more
	ended  atomic.Bool   // set before conn is closed, if grpc had given up the only connection by then
	lost   chan struct{} // closed when no calls can be made any more
	failed chan struct{} // closed by Fail, after reason is set
	reason error         // why calls fail; read only after failed is closed

	failOnce  sync.Once
	watchDone chan struct{} // closed when the goroutine of watch has ended
	stopWatch context.CancelFunc
}

var _ calls.Client = (*Client)(nil)

// Connect returns a Client on link when calls can be made. The context bounds only
// Connect. With an error the stream is closed.
func Connect(ctx context.Context, cfg calls.ClientConfig, link Link) (*Client, error) {
	return connect(ctx, cfg, link, nil)
}

// connect is Connect. callers serves the other side's calls.
func connect(ctx context.Context, cfg calls.ClientConfig, link Link, callers *Server) (*Client, error) {
	c := &Client{
		dialer:    newDialer(cfg.Other, link),
		gone:      link.Gone,
		ending:    link.Ending,
		other:     cfg.Other,
		callers:   callers,
		stalled:   cfg.Stalled,
		meter:     cfg.Meter,
		control:   cfg.IsControl,
		unlog:     reports.to(cfg.Logger),
		lost:      make(chan struct{}),
		failed:    make(chan struct{}),
		watchDone: make(chan struct{}),
		stopWatch: func() {},
	}
	close(c.watchDone)
	var err error
	if c.conn, err = c.newConn(cfg, link); err != nil {
		c.unlog()
		return nil, errors.Join(err, link.Stream.Close())
	}
	if err := c.await(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) newConn(cfg calls.ClientConfig, link Link) (*grpc.ClientConn, error) {
	params := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: maxConnectTimeout}
	if link.Redial != nil {
		params = grpc.ConnectParams{Backoff: redialBackoff, MinConnectTimeout: redialTimeout}
	}
	opts := slices.Clone(cfg.DialOptions)
	for _, h := range calls.ApplicationStats(cfg.Stats, cfg.IsControl) {
		opts = append(opts, grpc.WithStatsHandler(h))
	}
	return grpc.NewClient("passthrough:///"+url.PathEscape(cmp.Or(cfg.Target, cfg.Other)), append(opts,
		grpc.WithTransportCredentials(clientCredentials{link.Stream.Info}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dialer.dial(ctx) }),
		grpc.WithAuthority("localhost"),
		grpc.WithConnectParams(params),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(), // turns off the one from a resolver, and there is none
		grpc.WithDefaultServiceConfig(sizeConfig(cfg.MaxMessageSize)),
		grpc.WithChainUnaryInterceptor(append(calls.ApplicationUnary(cfg.Unary, cfg.IsControl), c.invoke)...),
		grpc.WithChainStreamInterceptor(append(calls.ApplicationStream(cfg.Stream, cfg.IsControl), c.newStream)...),
	)...)
}

// sizeConfig sets the limit on messages for every method. A service config
// costs a call nothing; call options would cost it three allocations.
func sizeConfig(maxMessageSize int) string {
	return fmt.Sprintf(`{"methodConfig":[{"name":[{}],"maxRequestMessageBytes":%d,"maxResponseMessageBytes":%[1]d}]}`, maxMessageSize)
}

// await waits until calls can be made.
func (c *Client) await(ctx context.Context) error {
	for {
		state := c.conn.GetState()
		switch state {
		case connectivity.Ready:
			if c.gone != nil {
				return nil
			}
			watchCtx, cancel := context.WithCancel(context.Background())
			c.stopWatch = cancel
			c.watchDone = make(chan struct{})
			go c.watch(watchCtx)
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return c.connectError(ctx)
		case connectivity.Idle:
			// At first, and again if the other side has ended the connection before
			// this goroutine saw that it was ready.
			c.conn.Connect()
		default:
		}
		if !c.conn.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
	}
}

// watch closes lost when grpc has given the connection up, and there is no other.
func (c *Client) watch(ctx context.Context) {
	defer close(c.watchDone)
	if !c.keep(ctx) {
		if c.dialer.redial == nil { // else grpc goes on dialing until Fail
			c.over.Store(true)
		}
		close(c.lost)
	}
}

// connectError returns why the connection failed. grpc tells it only to a call.
func (c *Client) connectError(ctx context.Context) error {
	err := c.Plain().Invoke(ctx, "/plugwire.v1.Control/Connect", nil, nil)
	return errors.New(statusMessage(err))
}

// Lost implements [calls.Client].
func (c *Client) Lost() <-chan struct{} { return c.lost }

// giveUpTimeout bounds how long Fail waits until grpc gives up a connection that Fail has
// closed. grpc reads all the time, so it takes microseconds.
const giveUpTimeout = time.Second

// Fail implements [calls.Client].
func (c *Client) Fail(reason error) {
	c.failOnce.Do(func() {
		// Close the connection first. Else grpc waits for a write to a side that no
		// longer reads.
		c.dialer.close()
		c.over.Store(true) // not before, as a live connection sends until then
		// A caller that has the reason of one call knows that its next call is not sent.
		// grpc may need long to close: callers that only saw the reason then began again, call
		// after call, and left grpc no processor.
		c.reason = reason
		close(c.failed)
		c.ended.Store(c.givenUp())
		_ = c.conn.Close()
	})
}

// givenUp waits until grpc has given up the only connection, which is closed. It returns
// false if grpc has not, or if there may be another connection.
func (c *Client) givenUp() bool {
	if c.dialer.redial != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), giveUpTimeout)
	defer cancel()
	return c.conn.WaitForStateChange(ctx, connectivity.Ready)
}

// ErrClosed is the reason of calls on a Client that its own side has closed.
var ErrClosed = net.ErrClosed

// Close implements [calls.Client].
func (c *Client) Close() {
	c.Fail(ErrClosed)
	c.stopWatch()
	<-c.watchDone
	c.unlog()
}
