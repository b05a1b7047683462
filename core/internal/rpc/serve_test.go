package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang bounds what a test waits for.
const hang = 5 * time.Minute

// sockets are the unix sockets of a test.
type sockets struct{ transport.Transport }

func (sockets) Name() string { return "sockets" }

func (sockets) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", cfg.Address)
}

// testPlugin is a plugin that any number of hosts can connect to.
type testPlugin struct {
	t       *testing.T
	address string
	*Plugin
}

// adding returns what registers without an error.
func adding(register func(grpc.ServiceRegistrar)) func(grpc.ServiceRegistrar) error {
	return func(r grpc.ServiceRegistrar) error {
		register(r)
		return nil
	}
}

// newTestPlugin serves what register registers.
func newTestPlugin(t *testing.T, wire string, register func(grpc.ServiceRegistrar), change ...func(*PluginConfig)) *testPlugin {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	listener := session.NewListener(ln, session.ListenerConfig{Kind: handshake.SessionDirect, Credentials: secure.Plaintext()})
	cfg := PluginConfig{
		Wire:     wire,
		Listener: listener,
		Server: calls.ServerConfig{
			Side: "plugin", Other: "host", MaxMessageSize: calls.DefaultMaxMessageSize, Application: adding(register),
			OnPanic: func(context.Context, string, any, []byte) {},
		},
		Client:   calls.ClientConfig{Side: "plugin", Other: "host", MaxMessageSize: calls.DefaultMaxMessageSize, IsControl: isControl},
		Launcher: "launcher",
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := Serve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		listener.End()
	})
	return &testPlugin{t, ln.Addr().String(), p}
}

func isControl(string) bool { return false }

// session returns a host's session with the plugin.
func (p *testPlugin) session(identity string) *session.Session {
	p.t.Helper()
	s, err := session.Dial(p.t.Context(), session.Config{
		Kind: handshake.SessionDirect, Transport: sockets{}, Dial: transport.DialConfig{Address: p.address}, Credentials: secure.Plaintext(), Identity: identity,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// connect returns the ends of a host whose session has that identity, and which serves what
// register registers.
func (p *testPlugin) connect(wire, identity string, register func(grpc.ServiceRegistrar)) (calls.Client, calls.Server) {
	p.t.Helper()
	s := p.session(identity)
	open := func(ctx context.Context, purpose session.Purpose) (*session.Stream, error) {
		return s.Open(ctx, session.Preamble{Purpose: purpose})
	}
	var serving *calls.ServerConfig
	if register != nil {
		serving = &calls.ServerConfig{
			Side: "host", Other: "plugin", MaxMessageSize: calls.DefaultMaxMessageSize, Application: adding(register),
			OnPanic: func(context.Context, string, any, []byte) {},
		}
	}
	client, server, err := Connect(bounded(p.t), wire, open, calls.ClientConfig{
		Side: "host", Other: "plugin", MaxMessageSize: calls.DefaultMaxMessageSize, IsControl: isControl,
	}, serving)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		client.Close()
		if server != nil {
			server.Close()
		}
	})
	return client, server
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}

func serveNothing(grpc.ServiceRegistrar) {}

func serveHealth(r grpc.ServiceRegistrar) {
	healthpb.RegisterHealthServer(r, health.NewServer())
}

// eachWire runs a test on each wire of the table: all must behave the same.
func eachWire(t *testing.T, test func(t *testing.T, wire string)) {
	t.Helper()
	for _, wire := range Names() {
		t.Run(wire, func(t *testing.T) { test(t, wire) })
	}
}

// Calls to a host that can no longer be reached end: those in flight, and new ones.
func TestHostLost(t *testing.T) {
	eachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		p := newTestPlugin(t, wire, serveNothing)
		_, server := p.connect(wire, "", serveHealth)
		client := healthpb.NewHealthClient(p.AnyHost())
		watch, err := client.Watch(bounded(t), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		server.Close()
		_, inFlight := watch.Recv()
		_, after := client.Check(bounded(t), &healthpb.HealthCheckRequest{})
		for name, err := range map[string]error{"in flight": inFlight, "after": after} {
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the connection to the host was lost") {
				t.Errorf("a call %s: %v", name, err)
			}
		}
	})
}

// Calls to a plugin that has crashed end with the reason that the host finds: those in
// flight, and new ones.
func TestPluginLost(t *testing.T) {
	eachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		p := newTestPlugin(t, wire, serveHealth)
		client, _ := p.connect(wire, "", serveHealth)
		watch, err := healthpb.NewHealthClient(client).Watch(bounded(t), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		p.Close() // nothing is drained
		select {
		case <-client.Lost():
		case <-time.After(hang):
			t.Fatal("the host does not notice")
		}
		if !client.Broken() {
			t.Error("the client is not broken")
		}
		reason := errors.New("the process was killed")
		client.Fail(reason)
		_, inFlight := watch.Recv()
		_, after := healthpb.NewHealthClient(client).Check(bounded(t), &healthpb.HealthCheckRequest{})
		for name, err := range map[string]error{"in flight": inFlight, "after": after} {
			if status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
				t.Errorf("a call %s: %v", name, err)
			}
		}
	})
}

// A plugin whose host serves nothing refuses its callbacks, and its calls say why.
func TestNoHost(t *testing.T) {
	none := errors.New("the host serves nothing")
	p := newTestPlugin(t, handshake.WireH2, serveNothing, func(cfg *PluginConfig) { cfg.NoHost = func() error { return none } })
	stream, err := p.session("").Open(bounded(t), session.Preamble{Purpose: session.Callbacks})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the stream for callbacks: %v, want its end", err)
	}
	if _, err := healthpb.NewHealthClient(p.AnyHost()).Check(bounded(t), &healthpb.HealthCheckRequest{}); !errors.Is(err, none) {
		t.Errorf("a call: %v", err)
	}
}

// A host opens many streams for callbacks and says nothing on them. Most are refused at
// once, because each holds a descriptor. The others end with the plugin.
func TestSilentCallbacksAreBounded(t *testing.T) {
	const streams = 200
	for name, tt := range map[string]struct {
		launcher string
		most     int
	}{
		"launched": {"launcher", 1},
		"debugged": {"", maxHosts},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPlugin(t, handshake.WireH2, serveNothing, func(cfg *PluginConfig) { cfg.Launcher = tt.launcher })
			s := p.session("")
			ended := make(chan error, streams)
			for range streams {
				stream, err := s.Open(bounded(t), session.Preamble{Purpose: session.Callbacks})
				if err != nil {
					t.Fatal(err)
				}
				defer stream.Close()
				go func() {
					_, err := io.Copy(io.Discard, stream)
					ended <- err
				}()
			}
			next := func() {
				t.Helper()
				select {
				case err := <-ended:
					if err != nil && !errors.Is(err, net.ErrClosed) {
						t.Logf("a stream ended: %v", err)
					}
				case <-time.After(hang):
					t.Fatal("no stream ends")
				}
			}
			for range streams - tt.most {
				next()
			}
			p.Close()
			for range tt.most {
				next()
			}
			if _, err := healthpb.NewHealthClient(p.AnyHost()).Check(bounded(t), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
				t.Errorf("a call after the end: %v", err)
			}
		})
	}
}

// callBack is a service of a plugin whose calls fetch the health of a host.
type callBack struct {
	testpb.UnimplementedTestServiceServer
}

func (callBack) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	// The context of a call back may outlive the call.
	resp, err := healthpb.NewHealthClient(HostOf(ctx)).Check(context.WithoutCancel(ctx), &healthpb.HealthCheckRequest{})
	if err != nil {
		return nil, err
	}
	return &testpb.SimpleResponse{Username: resp.GetStatus().String()}, nil
}

// A plugin with several hosts calls back the one whose call it handles. Its other calls go to
// the host that has started the plugin, or to the one that came last.
func TestHostsByIdentity(t *testing.T) {
	eachWire(t, testHostsByIdentity)
}

func testHostsByIdentity(t *testing.T, wire string) {
	t.Helper()
	for name, tt := range map[string]struct {
		launcher, anyHost string
	}{
		"launched": {"one", "SERVING"},
		"debugged": {"", "NOT_SERVING"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPlugin(t, wire, func(r grpc.ServiceRegistrar) {
				testpb.RegisterTestServiceServer(r, callBack{})
			}, func(cfg *PluginConfig) { cfg.Launcher = tt.launcher })
			states := []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING}
			clients := make([]testpb.TestServiceClient, len(states))
			for i, identity := range []string{"one", "two"} {
				client, _ := p.connect(wire, identity, func(r grpc.ServiceRegistrar) {
					s := health.NewServer()
					s.SetServingStatus("", states[i])
					healthpb.RegisterHealthServer(r, s)
				})
				clients[i] = testpb.NewTestServiceClient(client)
				if _, err := clients[i].UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil { // the way back is there
					t.Fatal(err)
				}
			}
			for range 2 {
				for i, client := range clients {
					resp, err := client.UnaryCall(bounded(t), &testpb.SimpleRequest{})
					if err != nil || resp.GetUsername() != states[i].String() {
						t.Errorf("host %d was called back: %v, %v; want %v", i, resp, err, states[i])
					}
				}
			}
			resp, err := healthpb.NewHealthClient(p.AnyHost()).Check(bounded(t), &healthpb.HealthCheckRequest{})
			if err != nil || resp.GetStatus().String() != tt.anyHost {
				t.Errorf("any host: %v, %v; want %s", resp, err, tt.anyHost)
			}
			if got, want := p.AnyHost().Session(), map[string]string{"SERVING": "one", "NOT_SERVING": "two"}[tt.anyHost]; got != want {
				t.Errorf("any host has session %q, want %q", got, want)
			}
		})
	}
}
