// Package h2 is calls over HTTP/2, by grpc-go. It is the only package that knows of
// HTTP/2.
//
// One type, [Peer], is each side's end: it serves calls in, makes calls out, or
// both.
package h2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// connectTimeout bounds how long an accepted stream may take to begin HTTP/2.
// Generous, because both ends are on one machine, which may be starting a
// hundred plugins.
const connectTimeout = 10 * time.Second

// maxConnectTimeout is grpc's limit on one attempt to connect, where its default
// is 20 s. The context of Connect is the limit that counts; this is beyond any.
const maxConnectTimeout = 24 * time.Hour

const (
	// callWindow is how much of one call of the other side, in bytes, is buffered for a
	// handler that reads it slowly. The other side decides how many calls there are, so
	// it is less than streamWindow: all calls that the limit allows fill 256 MiB. A
	// message that is larger gets a window of its own size while a handler reads it.
	callWindow = 128 << 10
	// streamWindow is how much of one call's stream, in bytes, is buffered for
	// who reads it slowly. It is fixed: grpc finds a window of its own by sending
	// a ping with almost every message, which a short call then waits behind. On
	// one machine a megabyte is more than is ever on the way.
	streamWindow = 1 << 20
	// connWindow is how much of all streams is on the way. grpc gives it back as
	// it arrives, read or not, so that no stream waits for another.
	connWindow = 16 << 20
	// maxHeaders bounds the metadata that comes with an answer, and the text and
	// details of an error, in bytes, as gRPC does by default. But it is said to the
	// other side, so that what is too large is the end of a call there and not of the
	// connection here.
	maxHeaders = 16 << 20
)

// Config says what a Peer does.
type Config struct {
	// Side and Other are what this side and the other are called in errors.
	Side, Other string
	// Target is what the other side is called in the target of the client's
	// connection, which interceptors see; Other if it is empty.
	Target string
	// MaxMessageSize in bytes.
	MaxMessageSize int
	// Limits bound the other side's calls.
	Limits calls.Limits

	// Conn is the stream on which calls out go; nil for a peer that makes none.
	// The peer closes it.
	Conn net.Conn
	// Redial, if set, opens another stream when calls out need one and the other side
	// has ended the last, as servers do that bound the age of a connection or how long
	// it may be idle. It is bounded by its context, and may be called by several at once.
	// Without it the end of Conn is that of the peer.
	Redial func(ctx context.Context) (net.Conn, error)
	// Gone, for a peer with Redial, is closed when the other side has ended, if that
	// is known by other means than the connection: whoever owns the peer then calls
	// Fail. Such a peer is never Lost, and dials when a call needs it. If nil, the
	// peer dials at once, and is Lost if it cannot.
	Gone <-chan struct{}
	// ClientCredentials take Conn, and what Redial returns.
	ClientCredentials credentials.TransportCredentials
	// UnaryClient and StreamClient intercept the application's calls out, the
	// first outermost. IsControl tells the framework's own methods from those.
	UnaryClient  []grpc.UnaryClientInterceptor
	StreamClient []grpc.StreamClientInterceptor
	IsControl    func(fullMethod string) bool
	// Stalled, if set, says what keeps the other side from answering, if that is
	// known. It is called for each call whose deadline has passed, and for no other.
	Stalled func() string

	// Listener yields streams on which calls come in; nil for a peer that
	// serves none. The peer closes it.
	Listener net.Listener
	// ServerCredentials take what Listener yields.
	ServerCredentials credentials.TransportCredentials
	// Patient is set for a peer that has opened what Listener yields itself: the
	// other side may take as long as it likes to speak on it.
	Patient bool
	// DrainAnswers has Drain wait until the last answers are on their way, for an
	// other side that closes the connection when it hears of the end of a drain.
	// Without it Stop does that.
	DrainAnswers bool
	// RegisterApplication adds the application's services. Their calls are
	// intercepted, and draining waits for them.
	RegisterApplication func(grpc.ServiceRegistrar)
	// RegisterControl adds the framework's own services. They are served until
	// the end. May be nil.
	RegisterControl func(calls.Registrar)
	// UnaryServer and StreamServer intercept the application's calls in, the
	// first outermost.
	UnaryServer  []grpc.UnaryServerInterceptor
	StreamServer []grpc.StreamServerInterceptor
	// Logger, if set, is told of what the other side does that it has no reason to.
	Logger *slog.Logger
	// OnPanic is told of a panic in a handler, with its stack.
	OnPanic func(ctx context.Context, method string, value any, stack []byte)
}

// Peer is one side's end of a session. Its methods are safe for concurrent use,
// except that Connect comes before all others.
type Peer struct {
	client  *grpc.ClientConn // nil: makes no calls
	dialer  *dialer          // of what client runs on
	gone    <-chan struct{}  // Config.Gone
	server  *grpc.Server     // nil: serves no calls
	ln      net.Listener
	idle    idleConns
	gate    calls.Gate
	answers *calls.Gate // of calls whose answer is not on its way; nil without DrainAnswers
	side    string
	other   string
	unlog   func() // ends that grpc's errors go to this peer's logger

	stalled func() string // may be nil

	stopOnce sync.Once
	stopping chan struct{} // closed by Stop

	lost   chan struct{} // closed when no calls can be made any more
	failed chan struct{} // closed by Fail, after reason is set
	reason error         // why calls fail; read only after failed is closed

	failOnce  sync.Once
	watchDone chan struct{} // closed when the goroutine of watch has ended
	stopWatch context.CancelFunc
}

var _ grpc.ClientConnInterface = (*Peer)(nil)

// New makes a peer. A peer with a Conn still has to Connect, one with a
// Listener to Serve.
func New(cfg Config) (*Peer, error) {
	p := &Peer{
		side:      cfg.Side,
		stalled:   cfg.Stalled,
		other:     cfg.Other,
		unlog:     reports.to(cfg.Logger),
		stopping:  make(chan struct{}),
		lost:      make(chan struct{}),
		failed:    make(chan struct{}),
		watchDone: make(chan struct{}),
		stopWatch: func() {},
	}
	close(p.watchDone)
	if cfg.Listener != nil {
		p.ln = &servedListener{cfg.Listener, p}
		p.server = p.newServer(cfg)
	}
	if cfg.Conn != nil {
		p.dialer, p.gone = newDialer(cfg), cfg.Gone
		client, err := p.newClient(cfg)
		if err != nil {
			p.unlog()
			return nil, err
		}
		p.client = client
	}
	return p, nil
}

func (p *Peer) newClient(cfg Config) (*grpc.ClientConn, error) {
	params := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: maxConnectTimeout}
	if cfg.Redial != nil {
		params = grpc.ConnectParams{Backoff: redialBackoff, MinConnectTimeout: redialTimeout}
	}
	return grpc.NewClient("passthrough:///"+url.PathEscape(cmp.Or(cfg.Target, cfg.Other)),
		grpc.WithTransportCredentials(cfg.ClientCredentials),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.dialer.dial(ctx) }),
		grpc.WithAuthority("localhost"),
		grpc.WithConnectParams(params),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(), // one from a resolver; there is none
		grpc.WithDefaultServiceConfig(sizeConfig(cfg.MaxMessageSize)),
		grpc.WithChainUnaryInterceptor(calls.ApplicationUnary(cfg.UnaryClient, cfg.IsControl)...),
		grpc.WithChainStreamInterceptor(calls.ApplicationStream(cfg.StreamClient, cfg.IsControl)...),
	)
}

// sizeConfig sets the limit on messages for every method. A service config
// costs a call nothing; call options would cost it three allocations.
func sizeConfig(maxMessageSize int) string {
	return fmt.Sprintf(`{"methodConfig":[{"name":[{}],"maxRequestMessageBytes":%d,"maxResponseMessageBytes":%[1]d}]}`, maxMessageSize)
}

// Connect authenticates the other side and waits until calls can be made. The
// context bounds only that. When the connection is lost later, the channel
// returned by [Peer.Lost] is closed.
func (p *Peer) Connect(ctx context.Context) error {
	for {
		state := p.client.GetState()
		switch state {
		case connectivity.Ready:
			if p.gone != nil {
				return nil
			}
			watchCtx, cancel := context.WithCancel(context.Background())
			p.stopWatch = cancel
			p.watchDone = make(chan struct{})
			go p.watch(watchCtx)
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return p.connectError(ctx)
		case connectivity.Idle:
			// At first, and again if the other side has ended the connection before
			// this goroutine saw that it was ready.
			p.client.Connect()
		default:
		}
		if !p.client.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
	}
}

// watch closes lost when grpc has given the connection up, and there is no other.
func (p *Peer) watch(ctx context.Context) {
	defer close(p.watchDone)
	if !p.keep(ctx) {
		close(p.lost)
	}
}

// connectError gets the reason that grpc keeps to itself until a call is made.
func (p *Peer) connectError(ctx context.Context) error {
	err := p.client.Invoke(ctx, "/plugwire.v1.Control/Connect", nil, nil)
	return errors.New(statusMessage(err))
}

// Lost is closed when no calls out can be made any more. Who
// owns the peer then finds out why and calls Fail.
func (p *Peer) Lost() <-chan struct{} { return p.lost }

// Serve accepts and serves calls in until Close or Drain. It returns nil then.
func (p *Peer) Serve() error {
	err := p.server.Serve(p.ln)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Fail ends every call, those in flight and those to come, those that wait for
// readiness too, with codes.Unavailable and reason. Only the first reason
// counts.
func (p *Peer) Fail(reason error) {
	p.failOnce.Do(func() {
		p.reason = reason
		close(p.failed)
		if p.client != nil {
			// First the connection, so that grpc does not wait for a write to a
			// side that no longer reads.
			p.dialer.close()
			_ = p.client.Close()
		}
	})
}

// ErrClosed is the reason of calls on a peer that its own side has closed.
var ErrClosed = net.ErrClosed

// Close ends the peer at once, with everything in flight, and waits for its
// goroutines. To let calls finish, Drain first.
func (p *Peer) Close() {
	p.Fail(ErrClosed)
	p.stopWatch()
	<-p.watchDone
	if p.server != nil {
		p.idle.end() // first, as Stop waits for those that do not begin HTTP/2
		p.server.Stop()
	}
	p.unlog()
}
