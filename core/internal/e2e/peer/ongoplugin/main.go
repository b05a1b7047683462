// Package ongoplugin is the command goplugin-peer. It is a program that links both this framework and
// hashicorp/go-plugin, and uses either:
//
//	goplugin-peer serve               is a plugin on go-plugin
//	goplugin-peer renew [-plain] [-age D] [-grace D] [-idle D]
//	                                  is a plugin on go-plugin, or on nothing, whose
//	                                  server ends connections
//	goplugin-peer plugwire            is a plugin on this framework
//	goplugin-peer host [-mtls] [-mux] [-large] [-hold] [-child] [-drain]
//	    [-idle=SAID]... PATH
//	                                  is a host on go-plugin that calls the plugin
//	goplugin-peer tail SIZE PATH [ARGUMENT]...
//	                                  is a host on go-plugin of a plugin that prints so
//	                                  many bytes at its end, on each stream
//	goplugin-peer reattach JSON       is a host on go-plugin of a plugin that runs already
//	goplugin-peer both                is a host on both, of itself as both plugins
//
// All plugins serve the echo service. A host prints one line for each plugin, and exits
// with 0 if everything succeeded. A large message has twice the size that gRPC allows
// by default. -hold keeps the plugin until standard input ends. So does -child, which
// before makes a life-plugin start a process, and prints the number of that process.
// -drain ends the plugin with a call in flight, which the plugin has to finish. -mux is
// go-plugin's multiplexed mode. Each -idle opens a connection to the plugin's address
// and sends only these bytes, given in hexadecimal digits; the plugin still has to exit
// with 0.
package ongoplugin

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/unix"
)

// Main is the command.
func Main() {
	mode, args := "", os.Args[1:]
	if len(args) > 0 {
		mode, args = args[0], args[1:]
	}
	var err error
	switch mode {
	case "serve":
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: cookie,
			Plugins:         plugins,
			GRPCServer:      goplugin.DefaultGRPCServer,
			Logger:          hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true, Level: hclog.Info}),
		})
	case "plugwire":
		plugin.Main(echopb.ServeEcho(echo.Handler{}), plugin.WithTransports(unix.New()))
	case "renew":
		err = renew(args)
	case "host":
		message := small
		if slices.Contains(args, "-large") {
			message = strings.Repeat("x", 8<<20)
		}
		var last func(*goplugin.Client, echopb.EchoClient) error
		switch {
		case slices.Contains(args, "-hold"):
			last = hold
		case slices.Contains(args, "-child"):
			last = holdWithChild
		case slices.Contains(args, "-drain"):
			last = drain
		}
		cfg := newConfig(exec.Command(args[len(args)-1]), slices.Contains(args, "-mtls"))
		if said := idleArgs(args); len(said) > 0 {
			last = func(client *goplugin.Client, service echopb.EchoClient) error {
				return killAmongIdle(cfg.Cmd, client, service, said)
			}
		}
		cfg.GRPCBrokerMultiplex = slices.Contains(args, "-mux")
		err = hostGoPlugin(cfg, message, last)
	case "tail":
		err = fetchTail(args[0], args[1:])
	case "reattach":
		err = reattachGoPlugin(args[0])
	case "both":
		err = errors.Join(
			hostGoPlugin(newConfig(exec.Command(os.Args[0], "serve"), true), small, nil),
			hostPlugwire(exec.Command(os.Args[0], "plugwire")),
			hostPlugwire(exec.Command(os.Args[0], "serve")),
			hostGoPlugin(newConfig(exec.Command(os.Args[0], "plugwire"), true), small, nil),
		)
	default:
		err = fmt.Errorf("unknown mode %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// timeout bounds everything that a host does with one plugin.
const timeout = 30 * time.Second

// go-plugin needs these values.
var (
	cookie  = goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: handshake.DefaultCookieName, MagicCookieValue: handshake.DefaultCookieValue}
	plugins = goplugin.PluginSet{"echo": echoPlugin{}}
)

// echoPlugin is the echo service for go-plugin.
type echoPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

var _ goplugin.GRPCPlugin = echoPlugin{}

func (echoPlugin) GRPCServer(b *goplugin.GRPCBroker, s *grpc.Server) error {
	echopb.RegisterEchoServer(s, brokeringEcho{broker: b})
	return nil
}

// brokeringEcho is the echo service, which can also be served by the broker.
type brokeringEcho struct {
	echo.Handler
	echopb.UnsafeEchoServer
	broker *goplugin.GRPCBroker
}

// Fail has one more way than the handler of package echo.
func (e brokeringEcho) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	if req.GetHow() != "serve" {
		return e.Handler.Fail(ctx, req)
	}
	id := e.broker.NextId()
	go e.broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server { // until the plugin ends
		s := grpc.NewServer(opts...)
		echopb.RegisterEchoServer(s, e)
		return s
	})
	return &echopb.Payload{Data: []byte(strconv.FormatUint(uint64(id), 10))}, nil
}

func (echoPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return echopb.NewEchoClient(conn), nil
}

// newConfig returns the configuration of a host.
func newConfig(cmd *exec.Cmd, mutualTLS bool) *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig:  cookie,
		Plugins:          plugins,
		Cmd:              cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         mutualTLS,
		StartTimeout:     timeout,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info}),
	}
}

// hostGoPlugin calls a plugin, and at last calls the given function, if there
// is one.
func hostGoPlugin(cfg *goplugin.ClientConfig, message string, last func(*goplugin.Client, echopb.EchoClient) error) error {
	client := goplugin.NewClient(cfg)
	defer client.Kill()
	service, err := callGoPlugin(client, message)
	if err != nil {
		return err
	}
	fmt.Printf("go-plugin called %v, mutual TLS %t\n", cfg.Cmd.Args, cfg.AutoMTLS)
	if last != nil {
		return last(client, service)
	}
	return nil
}

// reattachGoPlugin gets a ReattachConfig in the form of Terraform.
func reattachGoPlugin(text string) error {
	var config struct {
		Protocol        string
		ProtocolVersion int
		Pid             int
		Test            bool
		Addr            struct{ Network, String string }
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	addr, err := net.ResolveUnixAddr(config.Addr.Network, config.Addr.String)
	if err != nil {
		return err
	}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  cookie,
		Plugins:          plugins,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Reattach: &goplugin.ReattachConfig{
			Protocol: goplugin.Protocol(config.Protocol), ProtocolVersion: config.ProtocolVersion,
			Addr: addr, Pid: config.Pid, Test: config.Test,
		},
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info}),
	})
	defer client.Kill()
	if _, err := callGoPlugin(client, small); err != nil {
		return err
	}
	fmt.Printf("go-plugin called process %d\n", config.Pid)
	return nil
}

func callGoPlugin(client *goplugin.Client, message string) (echopb.EchoClient, error) {
	conn, err := client.Client()
	if err != nil {
		return nil, fmt.Errorf("go-plugin: %w", err)
	}
	if err := conn.Ping(); err != nil {
		return nil, fmt.Errorf("go-plugin: ping: %w", err)
	}
	service, err := conn.Dispense("echo")
	if err != nil {
		return nil, fmt.Errorf("go-plugin: %w", err)
	}
	if err := call(service.(echopb.EchoClient), message); err != nil {
		return nil, fmt.Errorf("go-plugin: %w", err)
	}
	return service.(echopb.EchoClient), nil
}

// idleArgs returns the bytes to send on each idle connection.
func idleArgs(args []string) (said []string) {
	for _, arg := range args {
		if text, ok := strings.CutPrefix(arg, "-idle="); ok {
			said = append(said, text)
		}
	}
	return said
}

// killAmongIdle kills the plugin while idle connections have sent the given bytes.
func killAmongIdle(cmd *exec.Cmd, client *goplugin.Client, service echopb.EchoClient, said []string) error {
	addr := client.ReattachConfig().Addr
	for _, text := range said {
		data, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		conn, err := new(net.Dialer).DialContext(context.Background(), addr.Network(), addr.String())
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // the plugin has closed it
		if _, err := conn.Write(data); err != nil {
			return err
		}
	}
	// So many round trips take longer than an accept.
	for range 100 {
		if err := call(service, small); err != nil {
			return err
		}
	}
	client.Kill()
	if state := cmd.ProcessState; state == nil || !state.Success() {
		return fmt.Errorf("the plugin ended with %v", state)
	}
	return nil
}

// hold waits for the end of standard input.
func hold(*goplugin.Client, echopb.EchoClient) error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// holdWithChild waits like hold, when the plugin has a child.
func holdWithChild(client *goplugin.Client, service echopb.EchoClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	child, err := service.Fail(ctx, &echopb.FailRequest{How: "spawn"})
	if err != nil {
		return err
	}
	fmt.Printf("child %s of %d\n", child.GetData(), client.ReattachConfig().Pid)
	return hold(client, service)
}

// fetchTail makes a plugin print at its end. It tries again, because go-plugin's
// host may lose output that has reached it: Kill closes the connection, even if
// output is unread.
func fetchTail(text string, command []string) error {
	size, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	const attempts = 3
	for range attempts {
		if err = tail(size, command); err == nil {
			fmt.Println("the tail arrived")
			return nil
		}
	}
	return err
}

func tail(size int, command []string) error {
	stdout, stderr := newCounter(size), newCounter(size)
	cfg := newConfig(exec.Command(command[0], command[1:]...), false)
	cfg.SyncStdout, cfg.SyncStderr = stdout, stderr
	return errors.Join(hostGoPlugin(cfg, small, nil), stdout.wait(), stderr.wait())
}

// counter counts the written bytes until all have come.
type counter struct {
	all  int
	done chan struct{} // closed when all bytes have come

	mu sync.Mutex // guards n
	n  int
}

func newCounter(all int) *counter { return &counter{all: all, done: make(chan struct{})} }

func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n += len(b); c.n == c.all {
		close(c.done)
	}
	return len(b), nil
}

// wait waits a moment for output that the host has received and not written
// yet.
func (c *counter) wait() error {
	select {
	case <-c.done:
		return nil
	case <-time.After(time.Second):
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%d of the last %d bytes of the plugin's output arrived", c.n, c.all)
	}
}

// drain ends the plugin, and checks that a call in flight continues.
func drain(client *goplugin.Client, echo echopb.EchoClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	chat, err := echo.Chat(ctx)
	if err != nil {
		return err
	}
	turn := func(word string) error {
		err := chat.Send(&echopb.Payload{Data: []byte(word)})
		if err == nil {
			_, err = chat.Recv()
		}
		return err
	}
	if err := turn("before"); err != nil {
		return err
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		client.Kill()
	}()
	for { // until the plugin refuses new calls
		if _, err := echo.Unary(ctx, &echopb.Payload{}); err != nil {
			break
		}
	}
	if err := turn("after"); err != nil {
		return fmt.Errorf("a call in flight was cut off: %w", err)
	}
	if err := chat.CloseSend(); err != nil {
		return err
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the end of a call in flight: %w", err)
	}
	<-killed
	fmt.Println("drained")
	return nil
}

func hostPlugwire(cmd *exec.Cmd) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	p, err := host.Launch(ctx, cmd, host.WithProtocols(echopb.EchoProtocol), host.WithTransports(unix.New()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := p.Ping(ctx); err != nil {
		return err
	}
	if err := call(echopb.NewEchoClient(p), small); err != nil {
		return err
	}
	fmt.Printf("plugwire called %v, security %s\n", cmd.Args, p.Info().Security)
	return nil
}

// small is the message that is sent by default.
const small = "hello"

// call makes calls of two kinds, the first with the message.
func call(client echopb.EchoClient, message string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	resp, err := client.Unary(ctx, &echopb.Payload{Data: []byte(message)})
	if err != nil {
		return err
	}
	if string(resp.GetData()) != message {
		return fmt.Errorf("the answer of Unary is %d bytes that differ from the sent ones", len(resp.GetData()))
	}
	chat, err := client.Chat(ctx)
	if err != nil {
		return err
	}
	if err := chat.Send(&echopb.Payload{Data: []byte("word")}); err != nil {
		return err
	}
	resp, err = chat.Recv()
	if err != nil {
		return err
	}
	if string(resp.GetData()) != "word" {
		return fmt.Errorf("the answer of Chat is %q", resp.GetData())
	}
	return chat.CloseSend()
}
