package plugin_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/compat/goplugin"
)

// TestServeRefuses starts plugins that cannot be served. They say why, and exit with 1.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"plain":     "This binary is a plugin.",
		"no cookie": "no magic cookie",
		"no server": "net/rpc plugin protocol not supported",
	} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), role+"="+name)
		if name == "no server" {
			cmd.Env = append(cmd.Env, handshake.MagicCookieKey+"="+handshake.MagicCookieValue)
		}
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// TestGRPCServer makes the plugin's server with options of its own.
func TestGRPCServer(t *testing.T) {
	t.Parallel()
	_, d := start(t, config(t, "intercepts"))
	check(t, d, "echo:works", "intercepted works")
	_, d = start(t, config(t, "own options"))
	check(t, d, "echo:works", "works")
	cfg := config(t, "own options")
	cfg.AutoMTLS = true
	_, d = start(t, cfg)
	check(t, d, "echo:works", "works")
}

// TestServeLogger gives the plugin's side a logger.
func TestServeLogger(t *testing.T) {
	t.Parallel()
	var log buffer
	cfg := config(t, "logger")
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	c, d := start(t, cfg)
	check(t, d, "accept twice", "")
	log.await(t, "the broker does not accept: pid=")
	log.await(t, "@module=given")
	c.Kill()
	if c.ID() != "" {
		t.Errorf("ID %q after Kill", c.ID())
	}
}

// TestServeReturns goes on after Serve.
func TestServeReturns(t *testing.T) {
	t.Parallel()
	var stderr buffer
	cfg := config(t, "marks")
	cfg.Stderr = &stderr
	c, _ := start(t, cfg)
	c.Kill()
	if !strings.Contains(stderr.String(), "Serve has returned") {
		t.Errorf("%q", stderr.String())
	}
}

func TestServeMux(t *testing.T) {
	t.Parallel()
	_, d := start(t, config(t, "mux"))
	check(t, d, "echo:works", "works")
}

// servedPlugin is a plugin in this process.
type servedPlugin struct {
	reattach *plugin.ReattachConfig
	end      context.CancelFunc
	closed   chan struct{}
}

func serveHere(t *testing.T, cfg *plugin.ServeConfig) servedPlugin {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reattach, closed := make(chan *plugin.ReattachConfig, 1), make(chan struct{})
	cfg.Test.Context, cfg.Test.ReattachConfigCh, cfg.Test.CloseCh = ctx, reattach, closed
	go plugin.Serve(cfg)
	t.Cleanup(func() {
		cancel()
		<-closed
	})
	select {
	case r := <-reattach:
		return servedPlugin{r, cancel, closed}
	case <-closed:
		t.Fatal("Serve has returned")
		return servedPlugin{}
	}
}

func testConfig() *plugin.ServeConfig {
	return &plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"test": testPlugin{version: 1}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
		Test:            &plugin.ServeTestConfig{},
	}
}

// reattached is the configuration of a host that reattaches.
func reattached(t *testing.T, to *plugin.ReattachConfig) *plugin.ClientConfig {
	t.Helper()
	cfg := config(t, "")
	cfg.Cmd, cfg.Reattach = nil, to
	return cfg
}

// TestServeTest serves in the process of a test, to one host after another.
func TestServeTest(t *testing.T) {
	t.Parallel()
	s := serveHere(t, testConfig())
	if r := s.reattach; !r.Test || r.Protocol != plugin.ProtocolGRPC || r.ProtocolVersion != 1 || r.Pid != os.Getpid() || r.Addr == nil {
		t.Errorf("%+v", r)
	}
	for range 2 {
		c, d := start(t, reattached(t, s.reattach))
		check(t, d, "echo:works", "works")
		if c.ReattachConfig() != s.reattach || c.NegotiatedVersion() != 1 || c.ID() != "" {
			t.Errorf("version %d, ID %q", c.NegotiatedVersion(), c.ID())
		}
		c.Kill() // only closes the connections
		if !c.Exited() || d.ctx.Err() == nil {
			t.Error("the connections are open")
		}
	}
	s.end()
	<-s.closed
	if _, err := plugin.NewClient(reattached(t, s.reattach)).Client(); !errors.Is(err, plugin.ErrProcessNotFound) {
		t.Errorf("after the end: %v", err)
	}
}

// TestSyncStdio lets a host fetch what the process of a test prints. It changes os.Stdout of
// this process, and back.
func TestSyncStdio(t *testing.T) {
	before := os.Stdout
	cfg := testConfig()
	cfg.Test.SyncStdio = true
	s := serveHere(t, cfg)
	var stdout buffer
	host := reattached(t, s.reattach)
	host.SyncStdout = &stdout
	c, d := start(t, host)
	check(t, d, "print:fetched\n", "")
	stdout.await(t, "fetched\n")
	c.Kill()
	s.end()
	<-s.closed
	if os.Stdout != before {
		t.Error("os.Stdout is not what it was")
	}
}

// TestSyncStdioOfFailure returns if nothing can be served, and leaves os.Stdout as it was.
func TestSyncStdioOfFailure(t *testing.T) {
	before := os.Stdout
	closed := make(chan struct{})
	cfg := testConfig()
	cfg.Plugins = plugin.PluginSet{"test": failingPlugin{}}
	cfg.Test.SyncStdio, cfg.Test.CloseCh = true, closed
	go plugin.Serve(cfg)
	select {
	case <-closed:
	case <-time.After(hang):
		t.Fatal("Serve does not return")
	}
	if os.Stdout != before {
		t.Error("os.Stdout is not what it was")
	}
}

// TestReattach attaches to a plugin that another client has started.
func TestReattach(t *testing.T) {
	t.Parallel()
	first, _ := start(t, config(t, "plain"))
	to := first.ReattachConfig()
	if to.Protocol != plugin.ProtocolGRPC || to.ProtocolVersion != 1 || to.Pid == 0 || to.Test {
		t.Errorf("%+v", to)
	}
	second, d := start(t, reattached(t, to))
	check(t, d, "echo:works", "works")
	if second.ID() != strconv.Itoa(to.Pid) || second.Exited() {
		t.Errorf("ID %q", second.ID())
	}
	second.Kill() // ends the plugin
	if !second.Exited() {
		t.Error("it has not ended")
	}
	for want, broken := range map[string]func(*plugin.ClientConfig){
		"net/rpc":        func(cfg *plugin.ClientConfig) { cfg.Reattach.Protocol = plugin.ProtocolNetRPC },
		"multiplexing":   func(cfg *plugin.ClientConfig) { cfg.GRPCBrokerMultiplex = true },
		"Addr is not":    func(cfg *plugin.ClientConfig) { cfg.Reattach.Addr = nil },
		"not found":      func(cfg *plugin.ClientConfig) { cfg.Reattach.Addr = &net.UnixAddr{Net: "unix", Name: "/nothing"} },
		"cannot find it": func(cfg *plugin.ClientConfig) { cfg.Reattach.ReattachFunc = cannotFind },
	} {
		again := *to
		cfg := reattached(t, &again)
		broken(cfg)
		if _, err := plugin.NewClient(cfg).Client(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestDiscover finds files by their names.
func TestDiscover(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a-plugin", "b-plugin", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := plugin.Discover("*-plugin", dir)
	if err != nil || len(found) != 2 || found[0] != filepath.Join(dir, "a-plugin") {
		t.Errorf("%q, %v", found, err)
	}
	if _, err := plugin.Discover("[", dir); !errors.Is(err, filepath.ErrBadPattern) {
		t.Error(err)
	}
}

// TestNetRPC calls what is there for net/rpc only: it says that it is not supported.
func TestNetRPC(t *testing.T) {
	t.Parallel()
	const want = "net/rpc plugin protocol not supported"
	says := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var none plugin.NetRPCUnsupportedPlugin
	_, err := none.Server(nil)
	says("Server", err)
	_, err = none.Client(nil, nil)
	says("Client", err)
	var broker plugin.MuxBroker
	_, err = broker.Accept(1)
	says("MuxBroker.Accept", err)
	_, err = broker.Dial(1)
	says("MuxBroker.Dial", err)
	broker.AcceptAndServe(1, nil)
	broker.Run()
	if broker.NextId() != 0 || broker.Close() != nil {
		t.Error("MuxBroker")
	}
	client, server := plugin.TestConn(t)
	_, err = plugin.NewRPCClient(client, nil)
	says("NewRPCClient", err)
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	var rpc plugin.RPCClient
	_, err = rpc.Dispense("test")
	says("RPCClient.Dispense", err)
	says("RPCClient.Ping", rpc.Ping())
	says("RPCClient.SyncStreams", rpc.SyncStreams(nil, nil))
	done := make(chan struct{})
	s := plugin.RPCServer{DoneCh: done}
	says("RPCServer.Init", s.Init())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(ln)
	<-done
	s.ServeConn(server)
	if rpc.Close() != nil || s.Config() != "" {
		t.Error("RPCClient.Close, RPCServer.Config")
	}
}

// TestBasicError is the text of an error.
func TestBasicError(t *testing.T) {
	t.Parallel()
	if e := plugin.NewBasicError(errors.New("broken")); e.Error() != "broken" || e.Message != "broken" {
		t.Errorf("%+v", e)
	}
	if plugin.NewBasicError(nil) != nil {
		t.Error("not nil")
	}
}

// TestDispense asks for plugins that are not there.
func TestDispense(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	cfg.Plugins["netrpc"] = struct {
		plugin.NetRPCUnsupportedPlugin
	}{}
	c := plugin.NewClient(cfg)
	t.Cleanup(c.Kill)
	protocol, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"nothing": "unknown plugin type: nothing", "netrpc": `plugin "netrpc" doesn't support gRPC`} {
		if _, err := protocol.Dispense(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := protocol.Ping(); err != nil {
		t.Error(err)
	}
	if again, err := c.Client(); err != nil || again != protocol || c.Protocol() != plugin.ProtocolGRPC {
		t.Errorf("%v, %v", again, err)
	}
	if err := protocol.Close(); err != nil {
		t.Error(err)
	}
	if err := protocol.Ping(); err == nil || !c.Exited() {
		t.Errorf("Ping after Close: %v", err)
	}
}

// TestOwnServer serves plugins on a listener of the test.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]*plugin.GRPCServer{
		"no server":  {},
		"net/rpc":    {Server: plugin.DefaultGRPCServer, Plugins: map[string]plugin.Plugin{"test": struct{ plugin.NetRPCUnsupportedPlugin }{}}},
		"its error":  {Server: plugin.DefaultGRPCServer, Plugins: map[string]plugin.Plugin{"test": failingPlugin{}}},
		"nil server": {Server: func([]grpc.ServerOption) *grpc.Server { return nil }},
	} {
		if err := broken.Init(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, stop := range []func(*plugin.GRPCServer){(*plugin.GRPCServer).Stop, (*plugin.GRPCServer).GracefulStop} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &plugin.GRPCServer{
			Plugins: map[string]plugin.Plugin{"test": testPlugin{version: 1}},
			Server:  plugin.DefaultGRPCServer,
			DoneCh:  make(chan struct{}),
			Stdout:  strings.NewReader("from stdout\n"),
			Stderr:  strings.NewReader("from stderr\n"),
		}
		if err := s.Init(); err != nil {
			t.Fatal(err)
		}
		go s.Serve(ln)
		var stdout, stderr buffer
		cfg := reattached(t, &plugin.ReattachConfig{Protocol: plugin.ProtocolGRPC, ProtocolVersion: 1, Addr: ln.Addr(), Pid: os.Getpid(), Test: true})
		cfg.SyncStdout, cfg.SyncStderr = &stdout, &stderr
		c, d := start(t, cfg)
		check(t, d, "echo:works", "works")
		stdout.await(t, "from stdout\n")
		stderr.await(t, "from stderr\n")
		c.Kill()
		if s.Config() != `{"stdout_addr":"","stderr_addr":""}`+"\n" {
			t.Errorf("Config %q", s.Config())
		}
		stop(s)
		select {
		case <-s.DoneCh:
		case <-time.After(hang):
			t.Error("Serve goes on")
		}
	}
}

// failingPlugin cannot be registered.
type failingPlugin struct{ testPlugin }

func (failingPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("it cannot be registered")
}

// TestOwnServerTLS serves plugins on a listener of the test, with TLS.
func TestOwnServerTLS(t *testing.T) {
	t.Setenv("COMPAT_TEST_CERT", makeCertificate(t))
	cfg, err := pluginTLS()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &plugin.GRPCServer{
		Plugins: map[string]plugin.Plugin{"test": testPlugin{version: 1}},
		Server:  plugin.DefaultGRPCServer,
		TLS:     cfg,
		DoneCh:  make(chan struct{}),
	}
	if err := s.Init(); err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(os.Getenv("COMPAT_TEST_CERT")))
	host := reattached(t, &plugin.ReattachConfig{Protocol: plugin.ProtocolGRPC, ProtocolVersion: 1, Addr: ln.Addr(), Pid: os.Getpid(), Test: true})
	host.TLSConfig = &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	c, d := start(t, host)
	check(t, d, "echo:works", "works")
	c.Kill()
	s.Stop()
	<-s.DoneCh
}
