package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
)

// TestOptions are options of [TestPluginRPCConn].
type TestOptions struct {
	// ServerStdout and ServerStderr would go to the client.
	ServerStdout io.ReadCloser
	ServerStderr io.ReadCloser
}

// TestConn returns the two ends of a connection. The caller closes both.
func TestConn(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the caller closes it
	if err != nil {
		t.Fatal(err)
	}
	type acceptResult struct {
		conn net.Conn
		err  error
	}
	server := make(chan acceptResult, 1)
	go func() {
		conn, err := ln.Accept()
		server <- acceptResult{conn, errors.Join(err, ln.Close())}
	}()
	client, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // the listener is here
	if err != nil {
		_ = ln.Close() // ends Accept
		t.Fatal(err)
	}
	got := <-server
	if got.err != nil {
		t.Fatal(got.err)
	}
	return client, got.conn
}

// TestRPCConn returns a client and a server of net/rpc that are connected.
func TestRPCConn(t testing.TB) (*rpc.Client, *rpc.Server) {
	t.Helper()
	client, conn := TestConn(t)
	server := rpc.NewServer()
	go server.ServeConn(conn)
	return rpc.NewClient(client), server
}

// TestPluginRPCConn fails the test: plugins that speak net/rpc are refused.
func TestPluginRPCConn(t testing.TB, _ map[string]Plugin, _ *TestOptions) (*RPCClient, *RPCServer) {
	t.Helper()
	t.Fatal(errNetRPC)
	return nil, nil
}

// TestGRPCConn returns a connection and the server at its other end, on which register has
// registered services. The caller closes both.
func TestGRPCConn(t testing.TB, register func(*grpc.Server)) (*grpc.ClientConn, *grpc.Server) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the caller closes it
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	go func() { _ = server.Serve(ln) }() // returns when the server is stopped
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		server.Stop()
		t.Fatal(err)
	}
	return conn, server
}

// TestPluginGRPCConn returns the two sides of the plugins, connected in the process of the
// test, with multiplexed connections of the broker or separate ones. The caller closes both.
func TestPluginGRPCConn(t testing.TB, multiplex bool, ps map[string]Plugin) (*GRPCClient, *GRPCServer) {
	t.Helper()
	ln, err := transports()[0].Listen(t.Context(), transport.ListenConfig{Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	server := &GRPCServer{
		Plugins:     ps,
		Server:      DefaultGRPCServer,
		DoneCh:      make(chan struct{}),
		Stdout:      new(bytes.Buffer),
		Stderr:      new(bytes.Buffer),
		multiplexed: multiplex,
		logger:      hclog.New(&hclog.LoggerOptions{Level: hclog.Debug}),
	}
	if err := server.Init(); err != nil {
		t.Fatal(errors.Join(err, ln.Close()))
	}
	go server.Serve(ln)
	client, err := connectTest(server, ln.Addr(), multiplex)
	if err != nil {
		server.Stop()
		t.Fatal(err)
	}
	return client, server
}

// connectTest connects to the server. To the host, it is a plugin that starts and answers.
func connectTest(server *GRPCServer, addr net.Addr, multiplex bool) (*GRPCClient, error) {
	c := NewClient(&ClientConfig{
		HandshakeConfig:     HandshakeConfig{ProtocolVersion: 1},
		Plugins:             server.Plugins,
		Logger:              server.logger,
		AllowedProtocols:    []Protocol{ProtocolGRPC},
		GRPCBrokerMultiplex: multiplex,
	})
	s := &launch{client: c, sets: map[int]PluginSet{1: server.Plugins}}
	opts, err := s.options("test")
	if err != nil {
		return nil, err
	}
	answer := fmt.Sprintf("%d|1|%s|%s|%s||%t\n", CoreProtocolVersion, addr.Network(), addr, ProtocolGRPC, multiplex)
	runner := &adopter{find: func() (attachedRunner, error) { return servedHere{server}, nil }, answer: answer}
	opts = append(opts, host.WithPlaintext(), host.WithoutCertificate(), host.WithRunner(runner))
	if s.plugin, err = host.Launch(context.Background(), noCommand(), opts...); err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, errors.Join(err, s.plugin.Close())
	}
	return c.protocol, nil
}

// servedHere is a plugin in this process.
type servedHere struct{ *GRPCServer }

// Wait implements runner.AttachedRunner.
func (s servedHere) Wait(ctx context.Context) error {
	select {
	case <-s.DoneCh:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Kill implements runner.AttachedRunner.
func (s servedHere) Kill(context.Context) error {
	s.stop()
	return nil
}

// ID implements runner.AttachedRunner.
func (servedHere) ID() string { return "test" }

// PluginToHost implements runner.AttachedRunner.
func (servedHere) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements runner.AttachedRunner.
func (servedHere) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
