package plugin_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plugwire/plugwire/compat/goplugin"
)

// role is the environment variable that makes this program a plugin. Its value says which.
const role = "COMPAT_TEST_ROLE"

// hang bounds each wait. Nothing is expected to take this long.
const hang = time.Minute

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "COMPAT_TEST", MagicCookieValue: "yes"}

func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		serveRole(os.Getenv(role))
		return
	}
	// By default a program with the race detector sleeps for a second before it exits.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// originalStderr is standard error before Serve replaces it.
var originalStderr = os.Stderr

// serveRole is the plugin.
func serveRole(name string) {
	cfg := &plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"test": testPlugin{version: 1}},
		GRPCServer:      plugin.DefaultGRPCServer,
	}
	switch name {
	case "versions":
		cfg.Plugins = nil
		cfg.VersionedPlugins = map[int]plugin.PluginSet{2: {"test": testPlugin{version: 2}}, 3: {"test": testPlugin{version: 3}}, 7: {"test": testPlugin{version: 7}}}
	case "net/rpc beside":
		cfg.Plugins = nil
		cfg.VersionedPlugins = map[int]plugin.PluginSet{2: {"test": netRPCPlugin{}}, 3: {"test": testPlugin{version: 3}}, 5: {"test": netRPCPlugin{}}}
	case "version0":
		cfg.ProtocolVersion = 0
	case "intercepts":
		cfg.GRPCServer = func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				if info.FullMethod != method {
					return next(ctx, req)
				}
				answer, err := next(ctx, req)
				return wrapperspb.String("intercepted " + answer.(*wrapperspb.StringValue).GetValue()), err
			}))...)
		}
	case "own options": // what the framework gives is ignored
		cfg.GRPCServer = func([]grpc.ServerOption) *grpc.Server { return grpc.NewServer() }
	case "tls":
		cfg.TLSProvider = func() (*tls.Config, error) { return pluginTLS() }
	case "logger":
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Trace, JSONFormat: true, Name: "given"})
	case "mute":
		fmt.Fprintln(os.Stderr, "[INFO] it runs")
		<-time.After(time.Hour) // until the host kills it; without a timer, the runtime would see a deadlock
	case "exits":
		fmt.Fprintln(os.Stderr, "[ERROR] it does not work")
		os.Exit(7)
	case "netrpc":
		fmt.Println("1|1|unix|/nothing|netrpc|")
		<-time.After(time.Hour) // until the host kills it; without a timer, the runtime would see a deadlock
	case "nothing":
		fmt.Println("this is not an answer")
		os.Exit(0)
	case "no cookie":
		cfg.MagicCookieValue = ""
	case "no server":
		cfg.GRPCServer = nil
	case "mux":
		os.Args = []string{os.Args[0], "one"}
		plugin.ServeMux(plugin.ServeMuxMap{"one": cfg})
		return
	}
	plugin.Serve(cfg)
	if name == "marks" {
		fmt.Fprintln(originalStderr, "[INFO] Serve has returned")
	}
}

// The plugin has one method, whose request is a command.
const method = "/test.Test/Do"

type doer interface {
	do(ctx context.Context, command string) (string, error)
}

var desc = grpc.ServiceDesc{
	ServiceName: "test.Test",
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

func do(conn grpc.ClientConnInterface, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	var answer wrapperspb.StringValue
	err := conn.Invoke(ctx, method, wrapperspb.String(command), &answer)
	return answer.GetValue(), err
}

// testPlugin is the plugin on either side.
type testPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	version int
}

var _ plugin.GRPCPlugin = testPlugin{}

func (p testPlugin) GRPCServer(broker *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&desc, handler{p.version, broker, make(chan struct{}, 1000)})
	return nil
}

// netRPCPlugin speaks net/rpc only.
type netRPCPlugin struct{ plugin.NetRPCUnsupportedPlugin }

// hostSide is what a host gets.
type hostSide struct {
	*grpc.ClientConn
	ctx     context.Context //nolint:containedctx // the plugin's life
	broker  *plugin.GRPCBroker
	version int
}

func (p testPlugin) GRPCClient(ctx context.Context, broker *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return hostSide{conn, ctx, broker, p.version}, nil
}

// handler is what the plugin does.
type handler struct {
	version int
	broker  *plugin.GRPCBroker
	ended   chan struct{} // receives when a connection of "listen" has ended
}

// count reads the connections of a listener to their ends.
func (h handler) count(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn) // until the other side closes it
			_ = conn.Close()
			h.ended <- struct{}{}
		}()
	}
}

func (h handler) do(ctx context.Context, command string) (string, error) {
	verb, arg, _ := strings.Cut(command, ":")
	switch verb {
	case "echo":
		return arg, nil
	case "version":
		return strconv.Itoa(h.version), nil
	case "env":
		return os.Getenv(arg), nil
	case "program":
		return os.Executable()
	case "stdin":
		text, err := io.ReadAll(os.Stdin)
		return string(text), err
	case "agent":
		md, _ := metadata.FromIncomingContext(ctx)
		return strings.Join(md.Get("user-agent"), ","), nil
	case "print":
		fmt.Print(arg)
		fmt.Fprint(os.Stderr, "stderr "+arg)
		return "", nil
	case "raw":
		_, err := fmt.Fprint(originalStderr, arg)
		return "", err
	case "dial":
		id, _ := strconv.Atoi(arg)
		conn, err := h.broker.Dial(uint32(id))
		if err != nil {
			return "", err
		}
		answer, err := do(conn, "echo:from the host")
		return answer, errors.Join(err, conn.Close())
	case "listen": // counts the connections that have ended
		id := h.broker.NextId()
		ln, err := h.broker.Accept(id)
		if err != nil {
			return "", err
		}
		go h.count(ln)
		return strconv.Itoa(int(id)), nil
	case "accept twice": // the broker logs why it does not
		id := h.broker.NextId()
		ln, err := h.broker.Accept(id)
		if err != nil {
			return "", err
		}
		h.broker.AcceptAndServe(id, serveEcho)
		return "", ln.Close()
	case "ended":
		want, _ := strconv.Atoi(arg)
		for range want {
			select {
			case <-h.ended:
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		return "", nil
	case "serve":
		id := h.broker.NextId()
		accepted := make(chan struct{})
		go h.broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
			defer close(accepted)
			return serveEcho(opts)
		})
		<-accepted
		return strconv.Itoa(int(id)), nil
	}
	return "", fmt.Errorf("unknown command %q", command)
}

// serveEcho makes a server of an echo.
func serveEcho(opts []grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(opts...)
	s.RegisterService(&desc, handler{})
	return s
}

// config is a configuration of a host, for a plugin with that role.
func config(t *testing.T, name string) *plugin.ClientConfig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{role + "=" + name}
	return &plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{"test": testPlugin{version: 1}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     hang,
		Logger:           hclog.NewNullLogger(),
	}
}

// start starts a plugin, and ends it with the test.
func start(t *testing.T, cfg *plugin.ClientConfig) (*plugin.Client, hostSide) {
	t.Helper()
	c := plugin.NewClient(cfg)
	t.Cleanup(c.Kill)
	return c, dispense(t, c)
}

func dispense(t *testing.T, c *plugin.Client) hostSide {
	t.Helper()
	protocol, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protocol.Dispense("test")
	if err != nil {
		t.Fatal(err)
	}
	return raw.(hostSide)
}

// check calls the plugin and compares the answer.
func check(t *testing.T, conn grpc.ClientConnInterface, command, want string) {
	t.Helper()
	if got, err := do(conn, command); err != nil || got != want {
		t.Errorf("%s: %q, %v, want %q", command, got, err, want)
	}
}

// buffer is a writer that is read while it is written.
type buffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// await waits until the text has come.
func (b *buffer) await(t *testing.T, want string) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); !strings.Contains(b.String(), want); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("%q does not come; what came is %q", want, b.String())
		}
	}
}
