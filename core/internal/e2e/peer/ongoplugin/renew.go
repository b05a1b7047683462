package ongoplugin

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
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// renew serves the echo service with a server that ends its connections.
func renew(args []string) error {
	flags := flag.NewFlagSet("renew", flag.ExitOnError)
	var params keepalive.ServerParameters
	flags.DurationVar(&params.MaxConnectionAge, "age", 0, "how old a connection may become")
	flags.DurationVar(&params.MaxConnectionAgeGrace, "grace", 0, "how long calls may take after that")
	flags.DurationVar(&params.MaxConnectionIdle, "idle", 0, "how long a connection may be idle")
	plain := flags.Bool("plain", false, "without go-plugin, and without any of its services")
	away := flags.Duration("away", 200*time.Millisecond, "how long -plain refuses connections, or is mute on them, if a call asks for it")
	network := flags.String("network", "unix", "network of -plain: unix or tcp")
	_ = flags.Parse(args) // Parse exits on an error
	r := &renewing{network: *network, away: *away}
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

// renewingPlugin serves renewing under go-plugin.
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

	// Only servePlain uses these fields.
	network, address string
	away             time.Duration
	server           *grpc.Server

	mu    sync.Mutex   // guards the fields below
	count int          // number of connections so far
	ln    net.Listener // listener of servePlain
	conns []net.Conn   // connections of servePlain
	mute  bool         // servePlain says nothing on new connections
}

// Fail has more ways than the handler of package echo.
func (r *renewing) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	switch req.GetHow() {
	case "connections": // returns how many connections there were
		r.mu.Lock()
		defer r.mu.Unlock()
		return &echopb.Payload{Data: []byte(strconv.Itoa(r.count))}, nil
	case "cut": // ends all connections without an announcement
		r.cut(false)
	case "reset": // ends them with an RST
		r.cut(true)
	case "deaf": // also accepts no more
		r.refuse()
	case "away": // accepts no more for a while
		r.refuse()
		time.AfterFunc(r.away, func() {
			if err := r.listen(); err != nil {
				panic(err) // the path is this process's own
			}
		})
	case "mute": // accepts more, and for a while sends nothing on them
		r.setMute(true)
		time.AfterFunc(r.away, func() { r.setMute(false) })
	default:
		return r.Handler.Fail(ctx, req)
	}
	<-ctx.Done() // the connection has ended
	return nil, ctx.Err()
}

func (r *renewing) cut(reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutLocked(reset)
}

// cutLocked ends all connections. The caller holds mu.
func (r *renewing) cutLocked(reset bool) {
	for _, conn := range r.conns {
		if tcp, ok := conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0) // otherwise it is an orderly end, which the test notices
		}
		_ = conn.Close()
	}
	r.conns = nil
}

// refuse accepts no new connection, and ends the existing ones.
func (r *renewing) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.ln.Close()
	r.cutLocked(false)
}

// setMute ends all connections, and sets whether the server is mute on new
// ones.
func (r *renewing) setMute(mute bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = mute
	r.cutLocked(false)
}

// servePlain serves until SIGTERM.
func (r *renewing) servePlain(opts []grpc.ServerOption) (err error) {
	if r.address, err = filepath.Abs(filepath.Join(os.Getenv(negotiation.EnvSocketDir), "renewing")); err != nil {
		return err
	}
	if r.network == "tcp" {
		r.address = "127.0.0.1:0"
	}
	r.server = grpc.NewServer(opts...)
	echopb.RegisterEchoServer(r.server, r)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if err := r.listen(); err != nil {
		return err
	}
	<-stop
	r.server.Stop()
	return nil
}

// listen serves on a new listener. The first time it prints the address.
func (r *renewing) listen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ln, err := new(net.ListenConfig).Listen(context.Background(), r.network, r.address)
	if err != nil {
		return err
	}
	if r.ln == nil {
		r.address = ln.Addr().String()
		fmt.Printf("1|1|%s|%s|grpc\n", r.network, r.address)
	}
	r.ln = ln
	go func() { _ = r.server.Serve(tracking{ln, r}) }() // Serve ends with the listener, which may be intended
	return nil
}

// tracking is a listener that knows its connections.
type tracking struct {
	net.Listener
	*renewing
}

// Accept implements [net.Listener].
func (t tracking) Accept() (net.Conn, error) {
	for {
		conn, err := t.Listener.Accept()
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		t.conns = append(t.conns, conn)
		mute := t.mute
		t.mu.Unlock()
		if !mute {
			return conn, nil
		}
	}
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
