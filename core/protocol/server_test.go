package protocol_test

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/protocol"
)

// wrappingRegistrar serves with a server, and shows it, as package plugin does.
type wrappingRegistrar struct {
	registrar
	server *grpc.Server
}

func (w *wrappingRegistrar) RegisterServer(register func(*grpc.Server) error) error {
	return register(w.server)
}

// What registers itself is registered when the host chose its version, and not before.
func TestFromServer(t *testing.T) {
	var ran []int
	version := func(version int) protocol.Binding {
		return protocol.FromServer("sdk", version, func(s *grpc.Server) error {
			ran = append(ran, version)
			healthpb.RegisterHealthServer(s, &health{})
			return nil
		})
	}
	b := protocol.Join(version(5), version(6))
	family, err := b.Family()
	if err != nil {
		t.Fatal(err)
	}
	if family.String() != "sdk 6, 5" || len(ran) > 0 {
		t.Errorf("family %s, ran %v", family, ran)
	}
	v6 := family.Version(6)
	if !b.RequiresServer(v6) || b.RequiresServer(healthProtocol) {
		t.Error("RequiresServer")
	}
	if got := registered(t, b, v6); !slices.Equal(got, []string{"grpc.health.v1.Health"}) || !slices.Equal(ran, []int{6}) {
		t.Errorf("registered %v, ran %v", got, ran)
	}
	w := &wrappingRegistrar{server: grpc.NewServer()}
	if err := b.Register(w, v6); err != nil || len(w.server.GetServiceInfo()) != 1 {
		t.Errorf("a registrar with a server: %v", err)
	}
	checkError(t, b.Register(new(registrar), v6), "protocol sdk/6: protocol.FromServer needs a *grpc.Server")
}

func TestFromServerErrors(t *testing.T) {
	_, err := protocol.FromServer("a b", 1, func(*grpc.Server) error { return nil }).Family()
	checkError(t, err, `protocol name "a b"`)
	_, err = protocol.FromServer("sdk", 1, nil).Family()
	checkError(t, err, "protocol.FromServer: the function is nil")

	cause := errors.New("no credentials")
	b := protocol.FromServer("sdk", 1, func(*grpc.Server) error { return cause })
	family, err := b.Family()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Register(grpc.NewServer(), family[0]); !errors.Is(err, cause) {
		t.Error(err)
	}
	_, err = protocol.Join(b, protocol.FromServer("sdk", 1, func(*grpc.Server) error { return nil })).Family()
	checkError(t, err, "protocol sdk/1 is given twice")
}

// Nothing can be bound to a protocol without services.
func TestBindWithoutServices(t *testing.T) {
	_, err := protocol.Bind(protocol.New("sdk", 1), both{}).Family()
	checkError(t, err, "protocol sdk/1 has no services")
}

// newServerRegistrar lets a binding make the server, as package plugin does.
type newServerRegistrar struct {
	registrar
	server *grpc.Server
}

func (n *newServerRegistrar) RegisterNewServer(create func([]grpc.ServerOption) (*grpc.Server, error)) (err error) {
	n.server, err = create(nil)
	return err
}

// The caller makes the server, with the options that it is given.
func TestFromNewServer(t *testing.T) {
	b := protocol.FromNewServer("sdk", 0, func(opts []grpc.ServerOption) (*grpc.Server, error) {
		s := grpc.NewServer(opts...)
		healthpb.RegisterHealthServer(s, &health{})
		return s, nil
	})
	family, err := b.Family()
	if err != nil || family.String() != "sdk 0" || !b.RequiresServer(family[0]) {
		t.Fatalf("%v, %v", family, err)
	}
	n := new(newServerRegistrar)
	if err := b.Register(n, family[0]); err != nil || len(n.server.GetServiceInfo()) != 1 {
		t.Errorf("the server: %v", err)
	}
	checkError(t, b.Register(grpc.NewServer(), family[0]), "protocol sdk/0: protocol.FromNewServer makes a *grpc.Server")
	_, err = protocol.FromNewServer("sdk", 1, nil).Family()
	checkError(t, err, "protocol.FromNewServer: the function is nil")
	_, err = protocol.FromNewServer("a b", 1, func([]grpc.ServerOption) (*grpc.Server, error) { return nil, nil }).Family()
	checkError(t, err, `protocol name "a b"`)
}
