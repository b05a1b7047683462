package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plugwire/plugwire/compat/goplugin"
)

// checkBroker makes connections both ways.
func checkBroker(t *testing.T, d hostSide) {
	t.Helper()
	for range 2 {
		id := d.broker.NextId()
		ended := make(chan struct{})
		var server *grpc.Server
		accepted := make(chan struct{})
		go func() {
			defer close(ended)
			d.broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
				server = serveEcho(opts)
				healthpb.RegisterHealthServer(server, health.NewServer()) // a brokered server has none
				close(accepted)
				return server
			})
		}()
		<-accepted
		check(t, d, fmt.Sprint("dial:", id), "from the host")
		server.Stop()
		<-ended
	}
	text, err := do(d, "serve")
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		conn, err := d.broker.Dial(uint32(id))
		if err != nil {
			t.Fatal(err)
		}
		check(t, conn, "echo:from the plugin", "from the plugin")
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	var intercepted bool
	conn, err := d.broker.DialWithOptions(uint32(id), grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		intercepted = true
		return invoke(ctx, method, req, reply, cc, opts...)
	}))
	if err != nil {
		t.Fatal(err)
	}
	check(t, conn, "echo:from the plugin", "from the plugin")
	if err := conn.Close(); err != nil || !intercepted {
		t.Errorf("intercepted %t, %v", intercepted, err)
	}
}

// TestBroker brokers in every mode.
func TestBroker(t *testing.T) {
	t.Parallel()
	for _, multiplex := range []bool{false, true} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("multiplex %t, AutoMTLS %t", multiplex, tls), func(t *testing.T) {
				t.Parallel()
				cfg := config(t, "plain")
				cfg.GRPCBrokerMultiplex, cfg.AutoMTLS = multiplex, tls
				_, d := start(t, cfg)
				checkBroker(t, d)
			})
		}
	}
}

// TestBrokerAccept serves on a listener of the broker.
func TestBrokerAccept(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	var log buffer
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
	cfg.AutoMTLS = true // go-plugin's listener then has no TLS, and nobody can connect
	c, d := start(t, cfg)
	id := d.broker.NextId()
	ln, err := d.broker.Accept(id)
	if err != nil {
		t.Fatal(err)
	}
	s := serveEcho(nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	check(t, d, fmt.Sprint("dial:", id), "from the host")
	c.Kill() // ends the listener
	if err := <-served; err == nil {
		t.Error("the listener has ended without an error")
	}
	s.Stop()
	if _, err := d.broker.Accept(id); err == nil {
		t.Error("a broker that is closed accepts")
	}
	if _, err := d.broker.Dial(id); err == nil {
		t.Error("a broker that is closed dials")
	}
	d.broker.AcceptAndServe(id, serveEcho)
	log.await(t, "broker closed")
	d.broker.Run() // returns
	var zero plugin.GRPCBroker
	if _, err := zero.Dial(1); err == nil || zero.Close() != nil || zero.NextId() != 1 {
		t.Errorf("the zero value: %v", err)
	}
	zero.AcceptAndServe(1, serveEcho)
	zero.Run()
}

// TestBrokerForgets closes listeners whose broker goes on. Nothing of them is left. It counts
// what is in memory, so it does not run beside other tests.
func TestBrokerForgets(t *testing.T) {
	cfg := config(t, "plain")
	cfg.GRPCBrokerMultiplex = true // without sockets
	_, d := start(t, cfg)
	const listeners = 2000
	objects := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapObjects)
	}
	before := objects()
	for range listeners {
		ln, err := d.broker.Accept(d.broker.NextId())
		if err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Goroutines of the last listeners may still be about to end.
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	for left := objects() - before; left > listeners; left = objects() - before {
		if err := pause(ctx); err != nil {
			t.Fatalf("%d objects are left of %d listeners", left, listeners)
		}
	}
}

// TestBrokerDialUnused closes connections before they are used. The other side sees that.
func TestBrokerDialUnused(t *testing.T) {
	t.Parallel()
	client, server := plugin.TestPluginGRPCConn(t, false, map[string]plugin.Plugin{"test": testPlugin{version: 1}})
	raw, err := client.Dispense("test")
	if err != nil {
		t.Fatal(err)
	}
	broker := raw.(hostSide).broker
	text, err := do(raw.(hostSide), "listen")
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	own := grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("it dials nothing") })
	const dials = 50
	for i := range dials {
		conn, err := broker.DialWithOptions(uint32(id), []grpc.DialOption{own}[:i%2]...)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	check(t, raw.(hostSide), fmt.Sprint("ended:", dials), "")
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	server.Stop()
	<-server.DoneCh
}

// TestBrokerTwice accepts an id that is accepted already, and accepts it again after that.
func TestBrokerTwice(t *testing.T) {
	t.Parallel()
	for _, multiplex := range []bool{false, true} {
		cfg := config(t, "plain")
		cfg.GRPCBrokerMultiplex = multiplex
		_, d := start(t, cfg)
		id := d.broker.NextId()
		ln, err := d.broker.Accept(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.broker.Accept(id); err == nil {
			t.Error("an id is accepted twice")
		}
		d.broker.AcceptAndServe(id, serveEcho)                                               // logs why it returns
		d.broker.AcceptAndServe(id+1, func([]grpc.ServerOption) *grpc.Server { return nil }) // likewise
		for range 2 {
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}
		if ln, err = d.broker.Accept(id); err != nil {
			t.Errorf("accepted again: %v", err)
		} else if err := ln.Close(); err != nil {
			t.Error(err)
		}
		big := strings.Repeat("x", 5<<20) // more than grpc-go's default
		check(t, d, "echo:"+big, big)
	}
}

// TestMultiplexRefused asks a plugin for the multiplexed mode that does not have it.
func TestMultiplexRefused(t *testing.T) {
	t.Parallel()
	cfg := config(t, "")
	cfg.GRPCBrokerMultiplex = true
	cfg.Cmd = shell("echo '1|1|unix|/nothing|grpc|'; exec sleep 60")
	_, err := plugin.NewClient(cfg).Client()
	checkIs(t, err, plugin.ErrGRPCBrokerMuxNotSupported)
}

// TestHelpers connects both sides in the process of the test.
func TestHelpers(t *testing.T) {
	t.Parallel()
	for _, multiplex := range []bool{false, true} {
		client, server := plugin.TestPluginGRPCConn(t, multiplex, map[string]plugin.Plugin{"test": testPlugin{version: 1}})
		raw, err := client.Dispense("test")
		if err != nil {
			t.Fatal(err)
		}
		checkBroker(t, raw.(hostSide))
		if err := client.Ping(); err != nil {
			t.Error(err)
		}
		if client.Conn == nil || client.Plugins["test"] == nil || server.Plugins["test"] == nil {
			t.Error("fields are not set")
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		<-server.DoneCh
	}
	conn, server := plugin.TestGRPCConn(t, func(s *grpc.Server) { s.RegisterService(&desc, handler{}) })
	check(t, conn, "echo:works", "works")
	var answer wrapperspb.StringValue
	if err := conn.Invoke(t.Context(), "/test.Test/None", wrapperspb.String(""), &answer); err == nil {
		t.Error("a method that is not there")
	}
	own := &plugin.GRPCClient{Conn: conn, Plugins: map[string]plugin.Plugin{"test": testPlugin{}}}
	if _, err := own.Dispense("test"); err != nil {
		t.Error(err)
	}
	if err := own.Ping(); err == nil {
		t.Error("a server without health is serving")
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	server.Stop()
	rpcClient, rpcServer := plugin.TestRPCConn(t)
	if err := rpcServer.RegisterName("Test", new(rpcEcho)); err != nil {
		t.Fatal(err)
	}
	var text string
	if err := rpcClient.Call("Test.Echo", "works", &text); err != nil || text != "works" {
		t.Errorf("%q, %v", text, err)
	}
	if err := rpcClient.Close(); err != nil {
		t.Error(err)
	}
}

// rpcEcho is served by net/rpc.
type rpcEcho struct{}

func (*rpcEcho) Echo(text string, answer *string) error {
	*answer = text
	return nil
}
