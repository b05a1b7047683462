package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// renew serves the echo service with a server that ends its connections.
func renew(args []string) error {
	flags := flag.NewFlagSet("renew", flag.ExitOnError)
	var params keepalive.ServerParameters
	flags.DurationVar(&params.MaxConnectionAge, "age", 0, "how old a connection may become")
	flags.DurationVar(&params.MaxConnectionAgeGrace, "grace", 0, "how long calls may take after that")
	flags.DurationVar(&params.MaxConnectionIdle, "idle", 0, "how long a connection may be idle")
	plain := flags.Bool("plain", false, "without go-plugin, and without any of its services")
	_ = flags.Parse(args) // it exits with an error
	r := &renewing{}
	opts := []grpc.ServerOption{grpc.KeepaliveParams(params), grpc.StatsHandler(r)}
	if *plain {
		return r.servePlain(opts)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: cookie,
		Plugins:         goplugin.PluginSet{"echo": renewingPlugin{renewing: r}},
		GRPCServer:      func(more []grpc.ServerOption) *grpc.Server { return grpc.NewServer(append(opts, more...)...) },
		Logger:          hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true, Level: hclog.Info}),
	})
	return nil
}

// renewingPlugin is renewing for go-plugin.
type renewingPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	*renewing
}

var _ goplugin.GRPCPlugin = renewingPlugin{}

func (p renewingPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	echopb.RegisterEchoServer(s, p.renewing)
	return nil
}

func (renewingPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return echopb.NewEchoClient(conn), nil
}

// renewing is the echo service, which counts its connections.
type renewing struct {
	echo.Handler
	echopb.UnsafeEchoServer

	ln net.Listener // of servePlain

	mu    sync.Mutex // guards what follows
	count int        // of connections so far
	conns []net.Conn // of servePlain
}

// Fail knows more ways than echo's.
func (r *renewing) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	switch req.GetHow() {
	case "connections": // says how many there were
		r.mu.Lock()
		defer r.mu.Unlock()
		return &echopb.Payload{Data: []byte(strconv.Itoa(r.count))}, nil
	case "cut": // ends all connections without a word
		r.cut()
		<-ctx.Done()
		return nil, ctx.Err()
	case "deaf": // takes no more either
		_ = r.ln.Close()
		r.cut()
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return r.Handler.Fail(ctx, req)
	}
}

func (r *renewing) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
}

// servePlain serves until SIGTERM.
func (r *renewing) servePlain(opts []grpc.ServerOption) (err error) {
	path := filepath.Join(os.Getenv(handshake.EnvSocketDir), "renewing")
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if r.ln, err = new(net.ListenConfig).Listen(context.Background(), "unix", path); err != nil {
		return err
	}
	s := grpc.NewServer(opts...)
	echopb.RegisterEchoServer(s, r)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { _ = s.Serve(tracking{r.ln, r}) }() // it ends with the listener, which may be wanted
	fmt.Printf("1|1|unix|%s|grpc\n", path)
	<-stop
	s.Stop()
	return nil
}

// tracking is a listener that knows its connections.
type tracking struct {
	net.Listener
	*renewing
}

// Accept implements [net.Listener].
func (t tracking) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err == nil {
		t.mu.Lock()
		t.conns = append(t.conns, conn)
		t.mu.Unlock()
	}
	return conn, err
}

var _ stats.Handler = (*renewing)(nil)

// HandleConn implements [stats.Handler].
func (r *renewing) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, begun := s.(*stats.ConnBegin); begun {
		r.mu.Lock()
		r.count++
		r.mu.Unlock()
	}
}

// TagConn implements [stats.Handler].
func (*renewing) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC implements [stats.Handler].
func (*renewing) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements [stats.Handler].
func (*renewing) HandleRPC(context.Context, stats.RPCStats) {}
