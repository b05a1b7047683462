package plugin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// GRPCServer is the [ServerProtocol] of plugins that speak gRPC. [Serve] does not need it: it
// is for programs that have a listener of their own.
type GRPCServer struct {
	// Plugins are the plugins to serve.
	Plugins map[string]Plugin
	// Server makes the server.
	Server func([]grpc.ServerOption) *grpc.Server
	// TLS authenticates hosts; nil for no TLS.
	TLS *tls.Config
	// DoneCh is closed when Serve returns.
	DoneCh chan struct{}
	// Stdout and Stderr are read, and go to hosts that fetch what the plugin prints.
	Stdout io.Reader
	Stderr io.Reader

	multiplexed bool
	logger      hclog.Logger
	listener    *lateListener
	stop        context.CancelFunc
	broker      *GRPCBroker
	served      chan struct{} // closed when err is set
	err         error
}

var _ ServerProtocol = (*GRPCServer)(nil)

// Init makes the server with all its services. After an error nothing needs to be stopped.
func (s *GRPCServer) Init() error {
	if s.Server == nil {
		return fmt.Errorf("GRPCServer.Server is not set: %w", errNetRPC)
	}
	set := PluginSet(s.Plugins)
	if err := set.check(); err != nil {
		return err
	}
	if s.logger == nil {
		s.logger = hclog.Default()
	}
	s.broker = newBroker(s.logger)
	s.listener = &lateListener{Transport: transports()[0], given: make(chan struct{}), closed: make(chan struct{})}
	s.served = make(chan struct{})
	opts := []plugin.Option{
		plugin.WithTransports(s.listener),
		plugin.WithCookie(testCookie, testCookie),
		plugin.WithLookupEnv(s.lookup),
		plugin.WithPrinted(s.Stdout, s.Stderr),
		plugin.OnReady(func(ctx context.Context) error { return s.broker.connect(plugin.Broker(ctx)) }),
	}
	if s.TLS != nil {
		opts = append(opts, plugin.WithTLSConfig(s.TLS))
	}
	answered := make(chan struct{})
	opts = append(opts, plugin.WithAnswerWriter(answerFunc(func() { close(answered) })))
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() {
		defer close(s.served)
		s.err = plugin.Serve(ctx, protocol.FromNewServer(protocolName, 1, set.server(s.Server, s.broker)), opts...)
		_ = s.broker.Close() // always nil
	}()
	select {
	case <-answered:
		return nil
	case <-s.served:
		return s.err
	}
}

// answerFunc is called with the plugin's answer, which nothing reads.
type answerFunc func()

// Write implements [io.Writer].
func (f answerFunc) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

func (s *GRPCServer) lookup(name string) (string, bool) {
	switch {
	case name == testCookie:
		return testCookie, true
	case name == "PLUGIN_TRANSPORTS":
		return s.listener.Name(), true
	case name == "PLUGIN_PROTOCOL_VERSIONS":
		return "1", true
	case name == "PLUGIN_MULTIPLEX_GRPC" && s.multiplexed:
		return "true", true
	default:
		return "", false
	}
}

// Serve serves what the listener accepts, until the server is stopped. Call Init before.
func (s *GRPCServer) Serve(lis net.Listener) {
	defer close(s.DoneCh)
	s.listener.give(lis)
	<-s.served
	if s.err != nil {
		s.logger.Error("grpc server", "error", s.err)
	}
}

// Stop ends the server and the broker. Calls in flight have a moment to end.
func (s *GRPCServer) Stop() {
	s.stop()
	_ = s.listener.Close() // it may be closed already
	<-s.served
}

// GracefulStop is Stop.
func (s *GRPCServer) GracefulStop() { s.Stop() }

// Config returns an empty [GRPCServerConfig] in JSON.
func (s *GRPCServer) Config() string {
	text, err := json.Marshal(GRPCServerConfig{})
	if err != nil {
		return "" // two strings are always encoded
	}
	return string(text) + "\n"
}

// GRPCServerConfig is text about a server that nothing uses.
type GRPCServerConfig struct {
	StdoutAddr string `json:"stdout_addr"`
	StderrAddr string `json:"stderr_addr"`
}

// lateListener is a transport whose first listener is given later. The broker has others.
type lateListener struct {
	transport.Transport
	first sync.Once

	mu     sync.Mutex // guards lis
	lis    net.Listener
	given  chan struct{} // closed when lis is set
	closed chan struct{} // closed by Close
	once   sync.Once
}

var _ transport.Transport = (*lateListener)(nil)

// give gives the listener.
func (l *lateListener) give(lis net.Listener) {
	l.mu.Lock()
	l.lis = lis
	l.mu.Unlock()
	close(l.given)
	select {
	case <-l.closed:
		_ = lis.Close() // it came too late
	default:
	}
}

// Listen implements [transport.Transport].
func (l *lateListener) Listen(ctx context.Context, cfg transport.ListenConfig) (ln net.Listener, err error) {
	l.first.Do(func() { ln = l })
	if ln != nil {
		return ln, nil
	}
	return l.Transport.Listen(ctx, cfg)
}

// Accept implements [net.Listener].
func (l *lateListener) Accept() (net.Conn, error) {
	select {
	case <-l.given:
		return l.lis.Accept()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *lateListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lis == nil {
		return nil
	}
	return l.lis.Close()
}

// Addr implements [net.Listener].
func (l *lateListener) Addr() net.Addr { return &net.UnixAddr{Net: l.Name(), Name: "given"} }
