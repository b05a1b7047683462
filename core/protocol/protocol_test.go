package protocol_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/protocol"
)

// The services of the tests, as protoc-gen-go-grpc would describe them.
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
	// markedDesc is of a service whose interface has the unexported method that
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
	if diff := cmp.Diff([]string{"test.Streamer", "test.Greeter"}, p.Services()); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
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
	if got := p.Services()[0]; got != "test.Greeter" {
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
		{"version 0", protocol.New("test", 0, greeterDesc), "protocol test: version 0: want 1 or higher"},
		{"negative version", protocol.New("test", -1, greeterDesc), "protocol test: version -1"},
		{"no service", protocol.New("test", 1), "protocol test/1: no services"},
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
			// The other methods do no harm.
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
}

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

func TestFamily(t *testing.T) {
	v1, v2, v7 := protocol.New("test", 1, greeterDesc), protocol.New("test", 2, greeterDesc), protocol.New("test", 7, greeterDesc)
	family, err := protocol.NewFamily(v2, v7, v1, v2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{7, 2, 1}, family.Versions()); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	if family.Name() != "test" || family.String() != "test 7, 2, 1" {
		t.Errorf("name %q, string %q", family.Name(), family)
	}
	if family.Version(2) != v2 || family.Version(3) != nil {
		t.Errorf("version 2 is %v, version 3 is %v", family.Version(2), family.Version(3))
	}
}

func TestFamilyErrors(t *testing.T) {
	v1 := protocol.New("test", 1, greeterDesc)
	for _, tt := range []struct {
		name      string
		protocols []*protocol.Protocol
		want      string
	}{
		{"none", nil, "no protocol given"},
		{"nil", []*protocol.Protocol{v1, nil}, "a protocol is nil"},
		{"another name", []*protocol.Protocol{v1, protocol.New("other", 2, greeterDesc)}, "protocols test/1 and other/2 have different names"},
		{"a version twice", []*protocol.Protocol{v1, protocol.New("test", 1, streamerDesc)}, "protocol test/1 is given twice, by two different values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := protocol.NewFamily(tt.protocols...)
			checkError(t, err, tt.want)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v\nwant one with %q", err, want)
	}
}
