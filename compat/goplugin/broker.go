package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/protocol"
)

// GRPCBroker makes connections beside the one for calls. Each is found by an id, which the two
// sides exchange in messages of their own. Its methods are safe for concurrent use. The broker
// of the zero value is closed.
type GRPCBroker struct {
	nextID atomic.Uint32
	life   *brokerLife // nil for the zero value

	sync.Mutex // part of go-plugin's API; not used here
}

// brokerLife is the life of a broker that is connected, or about to be.
type brokerLife struct {
	logger hclog.Logger
	ctx    context.Context //nolint:containedctx // the broker's own life, not a caller's
	end    context.CancelFunc
	ready  chan struct{} // closed when core is set
	core   broker.Connector
	once   sync.Once // for connectOnce
}

// newBroker returns a broker without a connection. Close it.
func newBroker(logger hclog.Logger) *GRPCBroker {
	life := &brokerLife{logger: logger, ready: make(chan struct{})}
	life.ctx, life.end = context.WithCancel(context.Background())
	return &GRPCBroker{life: life}
}

var errNotConnector = errors.New("this broker makes no connections for code of its own")

// connect connects the broker. It is called once.
func (b *GRPCBroker) connect(core broker.Broker) error {
	connector, ok := core.(broker.Connector)
	if !ok {
		return errNotConnector
	}
	b.life.core = connector
	close(b.life.ready)
	return nil
}

// connectOnce is connect for a plugin that several hosts reach, at the same time too. They
// share the broker.
func (b *GRPCBroker) connectOnce(core broker.Broker) error {
	var err error
	b.life.once.Do(func() { err = b.connect(core) })
	return err
}

// brokerTimeout bounds how long a call waits for the other side.
const brokerTimeout = 10 * time.Second

var (
	errBrokerClosed = errors.New("broker closed")
	errNoOtherSide  = fmt.Errorf("the broker of the other side has not connected within %v", brokerTimeout)
)

// connected returns the broker of core, and a context that ends with this broker and after
// brokerTimeout.
func (b *GRPCBroker) connected() (core broker.Connector, ctx context.Context, cancel context.CancelFunc, err error) {
	if b == nil || b.life == nil || b.life.ctx.Err() != nil {
		return nil, nil, nil, errBrokerClosed
	}
	ctx, cancel = context.WithTimeout(b.life.ctx, brokerTimeout)
	select {
	case <-b.life.ready:
		return b.life.core, ctx, cancel, nil
	case <-ctx.Done():
		cancel()
		if b.life.ctx.Err() != nil {
			return nil, nil, nil, errBrokerClosed
		}
		return nil, nil, nil, errNoOtherSide
	}
}

// Accept listens under an id, until the listener or the broker is closed. The connections
// that it accepts are authenticated.
func (b *GRPCBroker) Accept(id uint32) (net.Listener, error) {
	core, ctx, cancel, err := b.connected()
	if err != nil {
		return nil, err
	}
	defer cancel()
	ln, err := core.Listen(ctx, id)
	if err != nil {
		return nil, err
	}
	return &brokeredListener{ln, context.AfterFunc(b.life.ctx, func() { _ = ln.Close() })}, nil
}

// brokeredListener is a listener that ends with the broker.
type brokeredListener struct {
	net.Listener
	release func() bool // lets the broker forget the listener
}

// Close implements [net.Listener].
func (l *brokeredListener) Close() error {
	l.release()
	return l.Listener.Close()
}

// AcceptAndServe serves under an id with the server that the function returns, until that
// server is stopped or the broker closed. The function gets what the broker serves with, and
// may add options of its own.
func (b *GRPCBroker) AcceptAndServe(id uint32, newGRPCServer func([]grpc.ServerOption) *grpc.Server) {
	core, _, cancel, err := b.connected()
	if err != nil {
		b.logger().Error("plugin: the broker does not accept", "id", id, "error", err)
		return
	}
	cancel()
	err = core.Serve(b.life.ctx, id, protocol.FromNewServer("brokered", 1, func(opts []grpc.ServerOption) (*grpc.Server, error) {
		return newGRPCServer(opts), nil
	}))
	if err != nil && b.life.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		b.life.logger.Error("plugin: the broker does not accept", "id", id, "error", err)
	}
}

// logger returns the logger of the client or the plugin.
func (b *GRPCBroker) logger() hclog.Logger {
	if b == nil || b.life == nil {
		return hclog.Default()
	}
	return b.life.logger
}

// Dial connects to what the other side serves under an id.
func (b *GRPCBroker) Dial(id uint32) (conn *grpc.ClientConn, err error) {
	return b.DialWithOptions(id)
}

// DialWithOptions is Dial with options for the connection.
func (b *GRPCBroker) DialWithOptions(id uint32, opts ...grpc.DialOption) (conn *grpc.ClientConn, err error) {
	core, ctx, cancel, err := b.connected()
	if err != nil {
		return nil, err
	}
	defer cancel()
	first, err := core.Connect(ctx, id)
	if err != nil {
		return nil, err
	}
	d := &idDialer{core: core, id: id, first: first}
	conn, err = grpc.NewClient("passthrough:///unused", append([]grpc.DialOption{
		grpc.WithContextDialer(d.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the connection is authenticated
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize), grpc.MaxCallSendMsgSize(maxMessageSize)),
	}, opts...)...)
	if err != nil {
		d.drop()
		return nil, err
	}
	unused, taken := context.WithCancel(b.life.ctx)
	d.taken = taken
	go d.watch(unused, conn)
	conn.Connect() // takes the first connection
	return conn, nil
}

// idDialer dials what is served under an id.
type idDialer struct {
	core broker.Connector
	id   uint32

	taken func() // ends watch

	mu    sync.Mutex // guards first
	first net.Conn   // the connection that proved the id; nil once it is taken
}

// watch closes the first connection if the broker or conn is closed before it was taken.
func (d *idDialer) watch(unused context.Context, conn *grpc.ClientConn) {
	state := conn.GetState()
	for state != connectivity.Shutdown && conn.WaitForStateChange(unused, state) {
		state = conn.GetState()
	}
	d.drop()
	d.taken()
}

// take returns the first connection, nil if it was taken before.
func (d *idDialer) take() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.first
	d.first = nil
	return conn
}

// drop closes the first connection, unless it was taken.
func (d *idDialer) drop() {
	if conn := d.take(); conn != nil {
		_ = conn.Close() // nothing was said on it
	}
}

func (d *idDialer) dial(ctx context.Context, _ string) (net.Conn, error) {
	if conn := d.take(); conn != nil {
		d.taken()
		return conn, nil
	}
	return d.core.Connect(ctx, d.id)
}

// NextId returns an id that this side has not used yet.
func (b *GRPCBroker) NextId() uint32 { return b.nextID.Add(1) }

// Close ends what the broker serves.
func (b *GRPCBroker) Close() error {
	if b != nil && b.life != nil {
		b.life.end()
	}
	return nil
}

// Run blocks until the broker is closed. Nothing needs to call it.
func (b *GRPCBroker) Run() {
	if b.life != nil {
		<-b.life.ctx.Done()
	}
}
