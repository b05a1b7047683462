package protocol_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/protocol"
)

type (
	greeterServer interface {
		Greet(ctx context.Context, name *string) (*string, error)
	}
	streamerServer interface {
		Reset(ctx context.Context, _ *string) (*string, error)
		Down(req *string, s grpc.ServerStream) error
		Up(s grpc.ServerStream) error
		Both(s grpc.ServerStream) error
	}
	listerServer interface {
		List(names []string) error
	}
	markedServer interface {
		Greet(ctx context.Context, name *string) (*string, error)
		mustEmbedUnimplementedMarkedServer()
	}
)

// Handlers that fit.
type (
	greeter  struct{}
	streamer struct{}
	both     struct {
		greeter
		streamer
	}
	pointerGreeter struct{ count int }
	// Values of sliceGreeter and funcGreeter cannot be compared.
	sliceGreeter  []int
	funcGreeter   func()
	markedGreeter struct{ greeter }
)

func (greeter) Greet(context.Context, *string) (*string, error) { return new(string), nil }

func (streamer) Reset(context.Context, *string) (*string, error) { return new(string), nil }
func (streamer) Down(*string, grpc.ServerStream) error           { return nil }
func (streamer) Up(grpc.ServerStream) error                      { return nil }
func (streamer) Both(grpc.ServerStream) error                    { return nil }

func (p *pointerGreeter) Greet(context.Context, *string) (*string, error) {
	p.count++
	return new(string), nil
}

func (sliceGreeter) Greet(context.Context, *string) (*string, error) { return new(string), nil }
func (funcGreeter) Greet(context.Context, *string) (*string, error)  { return new(string), nil }

func (markedGreeter) mustEmbedUnimplementedMarkedServer() {}

// Handlers that do not fit.
type (
	noUp           struct{}
	wrongParameter struct{}
	wrongResult    struct{}
	noContext      struct{}
	variadic       struct{}
	lowerCase      struct{}
)

func (noUp) Reset(context.Context, *string) (*string, error) { return new(string), nil }
func (noUp) Down(*string, grpc.ServerStream) error           { return nil }
func (noUp) Both(grpc.ServerStream) error                    { return nil }

func (wrongParameter) Greet(context.Context, string) (*string, error) { return new(string), nil }
func (wrongResult) Greet(context.Context, *string) (*string, bool)    { return new(string), true }
func (noContext) Greet(*string) (*string, error)                      { return new(string), nil }
func (variadic) List(...string) error                                 { return nil }
func (lowerCase) greet(context.Context, *string) (*string, error)     { return new(string), nil }

var _ = lowerCase{}.greet // reflection uses it by name

var (
	greeting = protocol.New("test", 1, greeterDesc)
	pair     = protocol.New("test", 2, greeterDesc, streamerDesc)
	markedP  = protocol.New("test", 3, markedDesc)
)

func TestBind(t *testing.T) {
	for _, tt := range []struct {
		name    string
		binding protocol.Binding
		want    map[int][]string
	}{
		{"one service", protocol.Bind(greeting, greeter{}), map[int][]string{1: {"test.Greeter"}}},
		{"one service by name", protocol.Bind(greeting, greeter{}, "test.Greeter"), map[int][]string{1: {"test.Greeter"}}},
		{"a pointer", protocol.Bind(greeting, &pointerGreeter{}), map[int][]string{1: {"test.Greeter"}}},
		{"a handler with more methods", protocol.Bind(greeting, both{}), map[int][]string{1: {"test.Greeter"}}},
		{"several services, one handler", protocol.Bind(pair, both{}), map[int][]string{2: {"test.Greeter", "test.Streamer"}}},
		{"several services, a handler each", protocol.Join(protocol.Bind(pair, streamer{}), protocol.Bind(pair, greeter{})), map[int][]string{2: {"test.Greeter", "test.Streamer"}}},
		{
			"several handlers that fit both, by name", protocol.Join(protocol.Bind(pair, both{}, "test.Streamer"), protocol.Bind(pair, both{}, "test.Greeter")),
			map[int][]string{2: {"test.Greeter", "test.Streamer"}},
		},
		{
			"several versions", protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(pair, both{})),
			map[int][]string{1: {"test.Greeter"}, 2: {"test.Greeter", "test.Streamer"}},
		},
		{
			"nested joins", protocol.Join(protocol.Join(protocol.Bind(greeting, greeter{})), protocol.Join(), protocol.Join(protocol.Bind(pair, both{}))),
			map[int][]string{1: {"test.Greeter"}, 2: {"test.Greeter", "test.Streamer"}},
		},
		{"a slice", protocol.Bind(greeting, sliceGreeter{1}), map[int][]string{1: {"test.Greeter"}}},
		{"an empty slice", protocol.Bind(greeting, sliceGreeter{}), map[int][]string{1: {"test.Greeter"}}},
		{"a func", protocol.Bind(greeting, funcGreeter(func() {})), map[int][]string{1: {"test.Greeter"}}},
		{"a marked interface", protocol.Bind(markedP, markedGreeter{}), map[int][]string{3: {"test.Marked"}}},
		{"generated code", protocol.Bind(healthProtocol, &health{}), map[int][]string{1: {"grpc.health.v1.Health"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			family, err := tt.binding.Family()
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[int][]string)
			for _, p := range family {
				got[p.Version()] = registered(t, tt.binding, p)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("registered services of each version (-want +got):\n%s", diff)
			}
		})
	}
}

// registered returns the names of the services of p that Register registers with a
// real server, sorted. That also tests whether grpc takes the handlers: grpc ends the
// process if one does not fit.
func registered(t *testing.T, b protocol.Binding, p *protocol.Protocol) []string {
	t.Helper()
	server := grpc.NewServer()
	defer server.Stop()
	if err := b.Register(server, p); err != nil {
		t.Error(err)
	}
	var names []string
	for _, name := range []string{"grpc.health.v1.Health", "test.Greeter", "test.Marked", "test.Streamer"} {
		if _, ok := server.GetServiceInfo()[name]; ok {
			names = append(names, name)
		}
	}
	if len(names) != len(server.GetServiceInfo()) {
		return append(names, "and services unknown to this test")
	}
	return names
}

var healthProtocol = protocol.New("health", 1, &healthpb.Health_ServiceDesc)

type health struct {
	healthpb.UnimplementedHealthServer
}

func TestBindErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		binding protocol.Binding
		want    string
	}{
		{"nothing", protocol.Binding{}, "nothing is bound: use a generated Serve function or protocol.Bind"},
		{"an empty join", protocol.Join(), "nothing is bound"},
		{"a nil protocol", protocol.Bind(nil, greeter{}), "bind handler protocol_test.greeter: the protocol is nil"},
		{"a nil handler", protocol.Bind(greeting, nil), "bind handler <nil>: the handler for protocol test/1 is nil"},
		{"a nil pointer", protocol.Bind(greeting, (*pointerGreeter)(nil)), "bind handler *protocol_test.pointerGreeter: the handler for protocol test/1 is nil"},
		{"a nil func", protocol.Bind(greeting, funcGreeter(nil)), "the handler for protocol test/1 is nil"},
		{"a nil slice", protocol.Bind(greeting, sliceGreeter(nil)), "the handler for protocol test/1 is nil"},
		{"no method at all", protocol.Bind(greeting, 42), "bind handler int: service test.Greeter: method Greet is missing"},
		{"a missing method", protocol.Bind(pair, noUp{}, "test.Streamer"), "service test.Streamer: method Up is missing"},
		{"a missing method, among several services", protocol.Join(protocol.Bind(pair, greeter{}), protocol.Bind(pair, noUp{})), "service test.Streamer: method Up is missing"},
		{"a method in lower case", protocol.Bind(greeting, lowerCase{}), "method Greet is missing"},
		{"a pointer receiver", protocol.Bind(greeting, pointerGreeter{}), "service test.Greeter: method Greet has a pointer receiver: bind &handler"},
		{"a wrong parameter", protocol.Bind(greeting, wrongParameter{}), "service test.Greeter: method Greet has the wrong form: want func(context.Context, *string) (*string, error)"},
		{"a wrong result", protocol.Bind(greeting, wrongResult{}), "method Greet has the wrong form"},
		{"no context", protocol.Bind(greeting, noContext{}), "method Greet has the wrong form"},
		{"variadic", protocol.Bind(protocol.New("test", 1, listerDesc), variadic{}), "method List has the wrong form: want func([]string) error"},
		{"no mark", protocol.Bind(markedP, greeter{}), "service test.Marked: the handler does not embed the generated Unimplemented (or Unsafe) struct that protocol_test.markedServer demands"},
		{"a missing method of a marked interface", protocol.Bind(markedP, streamer{}), "service test.Marked: method Greet is missing"},
		{"an unknown service", protocol.Bind(pair, greeter{}, "test.Other"), "protocol test/2 has no service test.Other (it has test.Greeter, test.Streamer)"},
		{"a description without a handler interface", protocol.Bind(protocol.New("test", 1, &grpc.ServiceDesc{ServiceName: "test.Odd"}), greeter{}), "service test.Odd: its description has no handler interface"},
		{"a description of a struct", protocol.Bind(protocol.New("test", 1, &grpc.ServiceDesc{ServiceName: "test.Odd", HandlerType: greeter{}}), greeter{}), "its description has no handler interface"},
		{"an unbound service", protocol.Bind(pair, greeter{}, "test.Greeter"), "protocol test/2: service test.Streamer is not bound: bind it too"},
		{"an unbound service, and why", protocol.Bind(pair, greeter{}), "protocol test/2: service test.Streamer is not bound (handler protocol_test.greeter: service test.Streamer: method Both is missing)"},
		{"an unbound service of one version", protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(pair, streamer{})), "protocol test/2: service test.Greeter is not bound"},
		{"a service bound twice", protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(greeting, &pointerGreeter{})), "protocol test/1: service test.Greeter is bound 2 times: name the services in Bind"},
		{"the same handler twice", protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(greeting, greeter{})), "bound 2 times"},
		{"the same uncomparable handler twice", protocol.Join(protocol.Bind(greeting, sliceGreeter{1}), protocol.Bind(greeting, sliceGreeter{1})), "bound 2 times"},
		{
			"uncomparable handlers and an unbound service",
			protocol.Join(protocol.Bind(pair, sliceGreeter{1}), protocol.Bind(pair, sliceGreeter{2})), "service test.Greeter is bound 2 times",
		},
		{"an uncomparable handler and an unbound service", protocol.Bind(pair, funcGreeter(func() {})), "(handler protocol_test.funcGreeter: service test.Streamer: method Both is missing)"},
		{"two families", protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(healthProtocol, &health{})), "protocols test/1 and health/1 have different names"},
		{
			"the same version by two values",
			protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(protocol.New("test", 1, greeterDesc), greeter{})), "protocol test/1 is given twice",
		},
		{"one mistake in a join", protocol.Join(protocol.Bind(greeting, greeter{}), protocol.Bind(pair, nil)), "the handler for protocol test/2 is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			family, err := tt.binding.Family()
			checkError(t, err, tt.want)
			if family != nil {
				t.Errorf("a family was returned beside the error: %v", family)
			}
		})
	}
}

// An optional service may be unbound, but it may not be bound twice. Services that are
// not optional must still be bound.
func TestOptional(t *testing.T) {
	p := protocol.New("test", 4, streamerDesc).Optional(greeterDesc)
	for _, tt := range []struct {
		name    string
		binding protocol.Binding
		want    []string
		err     string
	}{
		{name: "unbound", binding: protocol.Bind(p, streamer{}), want: []string{"test.Streamer"}},
		{name: "bound", binding: protocol.Bind(p, both{}), want: []string{"test.Streamer", "test.Greeter"}},
		{name: "bound by another handler", binding: protocol.Join(protocol.Bind(p, greeter{}), protocol.Bind(p, streamer{})), want: []string{"test.Streamer", "test.Greeter"}},
		{name: "bound twice", binding: protocol.Join(protocol.Bind(p, both{}), protocol.Bind(p, greeter{})), err: "service test.Greeter is bound 2 times"},
		{name: "bound alone", binding: protocol.Bind(p, greeter{}), err: "service test.Streamer is not bound"},
		{name: "all are optional", binding: protocol.Bind(protocol.New("test", 4).Optional(streamerDesc, greeterDesc), greeter{}), want: []string{"test.Greeter"}},
		{name: "none is bound", binding: protocol.Bind(protocol.New("test", 4).Optional(greeterDesc), streamer{}), err: "service test.Greeter: method Greet is missing"},
		{name: "the same service", binding: protocol.Bind(p.Optional(streamerDesc), streamer{}), err: "protocol test/4: service test.Streamer is listed twice"},
		{name: "no service at all", binding: protocol.Bind(protocol.New("test", 4).Optional(), streamer{}), err: "protocol test/4 has no services"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			family, err := tt.binding.Family()
			if tt.err != "" {
				checkError(t, err, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.binding.Services(family[0])); diff != "" {
				t.Errorf("bound services (-want +got):\n%s", diff)
			}
			if got := registered(t, tt.binding, family[0]); len(got) != len(tt.want) {
				t.Errorf("registered %v, want %v", got, tt.want)
			}
		})
	}
}

// Families returns protocols in the order in which they were bound.
func TestFamilies(t *testing.T) {
	later := protocol.New("health", 2, &healthpb.Health_ServiceDesc)
	families, err := protocol.Join(
		protocol.Bind(healthProtocol, &health{}), protocol.Bind(greeting, greeter{}), protocol.Bind(later, &health{}), protocol.Bind(pair, both{}),
	).Families()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		got = append(got, f.String())
	}
	if diff := cmp.Diff([]string{"health 2, 1", "test 2, 1"}, got); diff != "" {
		t.Errorf("families (-want +got):\n%s", diff)
	}

	_, err = protocol.Join(protocol.Bind(healthProtocol, &health{}), protocol.Bind(pair, greeter{})).Families()
	checkError(t, err, "protocol test/2: service test.Streamer is not bound")
}

// A build reports every mistake, not only the first.
func TestJoinKeepsAllErrors(t *testing.T) {
	_, err := protocol.Join(protocol.Bind(greeting, nil), protocol.Bind(pair, 42)).Family()
	for _, want := range []string{"protocol test/1 is nil", "method Greet is missing", "method Both is missing"} {
		checkError(t, err, want)
	}
}

// With two handlers of different types, the error blames neither.
func TestUnboundServiceBesideDifferentHandlers(t *testing.T) {
	three := protocol.New("test", 9, greeterDesc, streamerDesc, markedDesc)
	_, err := protocol.Join(protocol.Bind(three, greeter{}), protocol.Bind(three, streamer{})).Family()
	if want := "protocol test/9: service test.Marked is not bound" +
		": bind it too (protocol.Join), or make it optional, or give it a protocol of its own if the other side serves it (option plugwire.service_protocol)"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Register registers the handler itself, and only that of the chosen version.
func TestRegister(t *testing.T) {
	first, second := &pointerGreeter{}, &pointerGreeter{}
	v2 := protocol.New("test", 2, greeterDesc)
	b := protocol.Join(protocol.Bind(greeting, first), protocol.Bind(v2, second))
	if _, err := b.Family(); err != nil {
		t.Fatal(err)
	}
	var r registrar
	if err := b.Register(&r, v2); err != nil {
		t.Fatal(err)
	}
	if len(r) != 1 || r[0] != second {
		t.Errorf("registered %v, want the handler of version 2 alone", r)
	}
}

type registrar []any

func (r *registrar) RegisterService(_ *grpc.ServiceDesc, handler any) { *r = append(*r, handler) }
