//go:build unix

// Command drill does what breaks hosts and plugins on go-plugin. The tests build it twice,
// with hashicorp/go-plugin and with compat/goplugin in its place (compat.mod), and compare
// what becomes of it.
//
//	drill plugin [BEHAVIOUR]    is a plugin
//	drill SCENARIO PROGRAM      is a host, which starts PROGRAM plugin
//
// A host prints one line, which begins with "result: ".
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var handshake = plugin.HandshakeConfig{ProtocolVersion: 3, MagicCookieKey: "DRILL_PLUGIN", MagicCookieValue: "drill"}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		servePlugin(os.Args[2:])
		return
	}
	scenario, ok := scenarios[os.Args[1]]
	if !ok || len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: drill plugin | drill SCENARIO PROGRAM")
		os.Exit(2)
	}
	fmt.Println("result:", scenario(host{program: os.Args[2]}))
}

// The plugin has one method. Its request is a command, see handler.
const method = "/drill.Drill/Do"

// doer is what serves the method.
type doer interface {
	do(ctx context.Context, command string) (string, error)
}

var desc = grpc.ServiceDesc{
	ServiceName: "drill.Drill",
	HandlerType: (*doer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		request := new(wrapperspb.StringValue)
		if err := decode(request); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, request any) (any, error) {
			text, err := srv.(doer).do(ctx, request.(*wrapperspb.StringValue).GetValue())
			return wrapperspb.String(text), err
		}
		if intercept == nil {
			return handle(ctx, request)
		}
		return intercept(ctx, request, &grpc.UnaryServerInfo{Server: srv, FullMethod: method}, handle)
	}}},
}

// do calls the method.
func do(conn *grpc.ClientConn, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var response wrapperspb.StringValue
	err := conn.Invoke(ctx, method, wrapperspb.String(command), &response)
	return response.GetValue(), err
}

// drillPlugin is the plugin on either side.
type drillPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (drillPlugin) GRPCServer(broker *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&desc, handler{broker})
	return nil
}

// hostSide is what the host gets.
type hostSide struct {
	*grpc.ClientConn
	broker *plugin.GRPCBroker
}

func (drillPlugin) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return hostSide{conn, broker}, nil
}

// host starts plugins.
type host struct{ program string }

func (h host) config(args ...string) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{"drill": drillPlugin{}},
		Cmd:              exec.Command(h.program, append([]string{"plugin"}, args...)...),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     15 * time.Second,
		Logger:           hclog.NewNullLogger(),
	}
}

// script is a configuration whose plugin is a shell script.
func (h host) script(text string) *plugin.ClientConfig {
	cfg := h.config()
	cfg.Cmd = exec.Command("/bin/sh", "-c", text)
	return cfg
}

func connect(c *plugin.Client) (hostSide, error) {
	protocol, err := c.Client()
	if err != nil {
		return hostSide{}, err
	}
	raw, err := protocol.Dispense("drill")
	if err != nil {
		return hostSide{}, err
	}
	return raw.(hostSide), nil
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println("result: error:", err)
		os.Exit(0)
	}
	return value
}

// within reports whether f returns within d.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}
