package protocol_test

import (
	"fmt"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/protocol"
)

// Generated code calls New once for each protocol version.
func ExampleNew() {
	p := protocol.New("grpc.health", 1, &healthpb.Health_ServiceDesc)
	for _, m := range p.Methods() {
		fmt.Println(p, m.FullName, m.Kind)
	}
	// Output:
	// grpc.health/1 /grpc.health.v1.Health/Check unary
	// grpc.health/1 /grpc.health.v1.Health/List unary
	// grpc.health/1 /grpc.health.v1.Health/Watch server-streaming
}

// A handler that is bound by hand embeds the struct that protoc-gen-go-grpc generates.
func ExampleBind() {
	type handler struct {
		healthpb.UnimplementedHealthServer
	}
	p := protocol.New("grpc.health", 1, &healthpb.Health_ServiceDesc)

	fmt.Println(protocol.Bind(p, &handler{}).Family())

	// Without that struct, the error names the missing method.
	type empty struct{ healthpb.UnsafeHealthServer }
	_, err := protocol.Bind(p, &empty{}).Family()
	fmt.Println(err)
	// Output:
	// grpc.health 1 <nil>
	// bind handler *protocol_test.empty: service grpc.health.v1.Health: method Check is missing
}

// A plugin can serve two versions of its protocol.
func ExampleJoin() {
	type handler struct {
		healthpb.UnimplementedHealthServer
	}
	v1 := protocol.New("grpc.health", 1, &healthpb.Health_ServiceDesc)
	v2 := protocol.New("grpc.health", 2, &healthpb.Health_ServiceDesc)
	fmt.Println(protocol.Join(protocol.Bind(v1, &handler{}), protocol.Bind(v2, &handler{})).Family())
	// Output: grpc.health 2, 1 <nil>
}

// A host is given several versions of one protocol.
func ExampleNewFamily() {
	v1 := protocol.New("grpc.health", 1, &healthpb.Health_ServiceDesc)
	v2 := protocol.New("grpc.health", 2, &healthpb.Health_ServiceDesc)
	family, err := protocol.NewFamily(v1, v2)
	fmt.Println(family.Name(), family.Versions(), family.Version(1), err)
	// Output: grpc.health [2 1] grpc.health/1 <nil>
}

// The services of a protocol can be listed, with protobuf's descriptors.
func ExampleProtocol_Services() {
	p := protocol.New("grpc.health", 1, &healthpb.Health_ServiceDesc)
	for _, s := range p.Services() {
		fmt.Println(s.Name, s.File)
		check := s.Descriptor().Methods().ByName("Check")
		fmt.Println(check.Name(), check.Input().Name(), check.Output().Name())
	}
	// Output:
	// grpc.health.v1.Health grpc/health/v1/health.proto
	// Check HealthCheckRequest HealthCheckResponse
}
