package rpc_test

import (
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
)

// fromServer binds svc by registering it on a server of grpc.
func fromServer(name string, svc *service) protocol.Binding {
	return protocol.FromServer(name, 1, func(s *grpc.Server) error {
		testpb.RegisterTestServiceServer(s, svc)
		return nil
	})
}

// Only a wire with a connection of grpc has one to give.
func TestWireClientConn(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		conn, err := start(t, wire, &service{}, nil).ClientConn()
		if wire != handshake.WireH2 {
			if err == nil || !strings.Contains(err.Error(), `host.WithWire("h2")`) {
				t.Errorf("%v, %v", conn, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testpb.NewTestServiceClient(conn).UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
			t.Error(err)
		}
	})
}

// Whatever wires the host prefers, what registers itself on a server is served by one.
func TestWireFromServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts []host.Option
	}{
		{"all", []host.Option{host.WithWire(rpc.ToyWire, handshake.WireH2)}},
		{"callbacks", []host.Option{host.WithWire(rpc.ToyWire, handshake.WireH2), host.WithServices(fromServer("back", &service{}))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plugintest.Start(t, fromServer("calls", &service{}), exampletest.Loopback{}, tt.opts...)
			if wire := p.Info().Wire; wire != handshake.WireH2 {
				t.Errorf("the wire is %q", wire)
			}
			if _, err := testpb.NewTestServiceClient(p).UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A host that serves only by a server offers no other wire, whatever the plugin has.
func TestWireFromServerOfHost(t *testing.T) {
	t.Parallel()
	p := plugintest.Start(t, bind(t, "calls", &service{}), exampletest.Loopback{},
		host.WithWire(rpc.ToyWire, handshake.WireH2), host.WithServices(fromServer("back", &service{})))
	if wire := p.Info().Wire; wire != handshake.WireH2 {
		t.Errorf("the wire is %q", wire)
	}
}

// The other side's error names the options that contradict each other.
func TestWireFromServerContradicts(t *testing.T) {
	t.Parallel()
	calls := protocol.New("calls", 1)
	for name, try := range map[string]func() error{
		"plugin.WithWire and protocol.FromServer": func() error {
			return plugin.Serve(bounded(t), fromServer("calls", &service{}), plugin.WithWire(rpc.ToyWire),
				plugin.WithTransports(exampletest.Loopback{}), plugin.WithAnswerWriter(io.Discard),
				asked())
		},
		"host.WithWire and host.WithServices": func() error {
			_, err := host.Launch(bounded(t), nil, host.WithProtocols(calls), host.WithTransports(exampletest.Loopback{}),
				host.WithWire(rpc.ToyWire), host.WithServices(fromServer("back", &service{})))
			return err
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), name+" contradict each other") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asked makes the offer of a host that says nothing but its cookie.
func asked() plugin.Option {
	return plugin.WithLookupEnv(func(name string) (string, bool) {
		if name != handshake.DefaultCookieName {
			return "", false
		}
		return handshake.DefaultCookieValue, true
	})
}
