package protocol_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/plugwire/plugwire/core/protocol"
)

func TestKindString(t *testing.T) {
	for kind, want := range map[protocol.Kind]string{
		protocol.Unary: "unary", protocol.ServerStreaming: "server-streaming",
		protocol.ClientStreaming: "client-streaming", protocol.Bidirectional: "bidirectional",
		0: "Kind(0)", 9: "Kind(9)",
	} {
		if got := kind.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestServices(t *testing.T) {
	p := protocol.New("test", 1, streamerDesc).Optional(&grpc_health_v1.Health_ServiceDesc)
	want := []protocol.Service{
		{Name: "test.Streamer", Methods: []protocol.Method{
			{FullName: "/test.Streamer/Reset", Kind: protocol.Unary},
			{FullName: "/test.Streamer/Down", Kind: protocol.ServerStreaming},
			{FullName: "/test.Streamer/Up", Kind: protocol.ClientStreaming},
			{FullName: "/test.Streamer/Both", Kind: protocol.Bidirectional},
		}},
		{Name: "grpc.health.v1.Health", File: "grpc/health/v1/health.proto", Optional: true, Methods: []protocol.Method{
			{FullName: "/grpc.health.v1.Health/Check", Kind: protocol.Unary},
			{FullName: "/grpc.health.v1.Health/List", Kind: protocol.Unary},
			{FullName: "/grpc.health.v1.Health/Watch", Kind: protocol.ServerStreaming},
		}},
	}
	if diff := cmp.Diff(want, p.Services()); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

// A descriptor leads to the messages and to the whole file, which a program can hand
// on to another.
func TestServiceDescriptor(t *testing.T) {
	s := protocol.New("health", 1, &grpc_health_v1.Health_ServiceDesc).Services()[0]
	d := s.Descriptor()
	if d == nil {
		t.Fatal("no descriptor")
	}
	if got := d.Methods().ByName("Check").Input().FullName(); got != "grpc.health.v1.HealthCheckRequest" {
		t.Errorf("Check takes %s", got)
	}
	file := protodesc.ToFileDescriptorProto(d.ParentFile())
	if file.GetName() != s.File || file.GetPackage() != "grpc.health.v1" {
		t.Errorf("the file is %s of package %s", file.GetName(), file.GetPackage())
	}
}

func TestServiceDescriptorIsUnknown(t *testing.T) {
	message := &grpc.ServiceDesc{ServiceName: "grpc.health.v1.HealthCheckRequest", HandlerType: (*greeterServer)(nil)}
	for _, s := range protocol.New("test", 1, greeterDesc, message).Services() {
		if d := s.Descriptor(); d != nil {
			t.Errorf("%s has the descriptor %v, and no generated code describes it", s.Name, d)
		}
	}
}
