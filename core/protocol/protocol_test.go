package protocol_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/protocol"
)

// The services of the tests, described as protoc-gen-go-grpc describes services.
var (
	greeterDesc = &grpc.ServiceDesc{
		ServiceName: "test.Greeter", HandlerType: (*greeterServer)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Greet"}},
	}
	streamerDesc = &grpc.ServiceDesc{
		ServiceName: "test.Streamer", HandlerType: (*streamerServer)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Reset"}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Down", ServerStreams: true},
			{StreamName: "Up", ClientStreams: true},
			{StreamName: "Both", ServerStreams: true, ClientStreams: true},
		},
	}
	listerDesc = &grpc.ServiceDesc{ServiceName: "test.Lister", HandlerType: (*listerServer)(nil)}
	// markedDesc describes a service whose interface has the unexported method that
	// generated code demands.
	markedDesc = &grpc.ServiceDesc{ServiceName: "test.Marked", HandlerType: (*markedServer)(nil)}
)

func TestNew(t *testing.T) {
	p := protocol.New("test", 3, streamerDesc, greeterDesc)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	if p.Name() != "test" || p.Version() != 3 || p.String() != "test/3" {
		t.Errorf("got name %q, version %d, string %q", p.Name(), p.Version(), p)
	}
	want := []protocol.Method{
		{FullName: "/test.Streamer/Reset", Kind: protocol.Unary},
		{FullName: "/test.Streamer/Down", Kind: protocol.ServerStreaming},
		{FullName: "/test.Streamer/Up", Kind: protocol.ClientStreaming},
		{FullName: "/test.Streamer/Both", Kind: protocol.Bidirectional},
		{FullName: "/test.Greeter/Greet", Kind: protocol.Unary},
	}
	if diff := cmp.Diff(want, p.Methods()); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
	for _, m := range want {
		if kind, ok := p.Kind(m.FullName); kind != m.Kind || !ok {
			t.Errorf("Kind(%q) = %v, %t; want %v", m.FullName, kind, ok, m.Kind)
		}
	}
	for _, name := range []string{"", "Greet", "test.Greeter/Greet", "/test.Greeter/Other", "/grpc.health.v1.Health/Check"} {
		if kind, ok := p.Kind(name); ok {
			t.Errorf("Kind(%q) = %v, want none", name, kind)
		}
	}
}

func TestNewCopiesItsArguments(t *testing.T) {
	descs := []*grpc.ServiceDesc{greeterDesc}
	p := protocol.New("test", 1, descs...)
	descs[0] = streamerDesc
	if got := p.Services()[0].Name; got != "test.Greeter" {
		t.Errorf("the service is now %s", got)
	}
}

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		protocol *protocol.Protocol
		want     string
	}{
		{"no name", protocol.New("", 1, greeterDesc), `protocol name "": want 1 to 256 letters, digits`},
		{"a space", protocol.New("a b", 1, greeterDesc), `protocol name "a b"`},
		{"a bar", protocol.New("a|b", 1, greeterDesc), `protocol name "a|b"`},
		{"a slash", protocol.New("a/b", 1, greeterDesc), `protocol name "a/b"`},
		{"a line ending", protocol.New("a\n", 1, greeterDesc), `protocol name "a\n"`},
		{"a digit first", protocol.New("1a", 1, greeterDesc), `protocol name "1a"`},
		{"not ASCII", protocol.New("ä", 1, greeterDesc), `protocol name "ä"`},
		{"too long", protocol.New(strings.Repeat("a", 257), 1, greeterDesc), "want 1 to 256"},
		{"version -1", protocol.New("test", -1, greeterDesc), "protocol test: version -1: want 0 or higher"},
		{"negative version", protocol.New("test", -1, greeterDesc), "protocol test: version -1"},
		{"nil service", protocol.New("test", 1, greeterDesc, nil), "protocol test/1: a service description is nil or has no name"},
		{"nameless service", protocol.New("test", 1, &grpc.ServiceDesc{}), "nil or has no name"},
		{"service twice", protocol.New("test", 1, greeterDesc, streamerDesc, greeterDesc), "protocol test/1: service test.Greeter is listed twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkError(t, tt.protocol.Err(), tt.want)
			_, err := protocol.NewFamily(tt.protocol)
			checkError(t, err, tt.want)
			_, err = protocol.Bind(tt.protocol, greeter{}).Family()
			checkError(t, err, tt.want)
			// The other methods do not panic.
			tt.protocol.Services()
			tt.protocol.Kind("/test.Greeter/Greet")
		})
	}
	if err := protocol.New(strings.Repeat("a", 256), 1, greeterDesc).Err(); err != nil {
		t.Errorf("the longest name: %v", err)
	}
	if err := protocol.New("_a-B.9", 1, greeterDesc).Err(); err != nil {
		t.Errorf("every kind of character: %v", err)
	}
	if err := protocol.New("test", 1).Err(); err != nil {
		t.Errorf("no services, for a host that has no generated code: %v", err)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v\nwant one with %q", err, want)
	}
}
