// Package protocol says what a host and a plugin speak: a named, versioned set
// of gRPC services, and the handlers that serve them.
//
// Generated code calls [New] once for each protocol version and [Bind] once for
// each service. A user therefore normally meets this package as two values: the
// Protocol for host.WithProtocols and the Binding for plugin.Main. This package
// connects nothing: packages host and plugin do that.
package protocol

import (
	"fmt"
	"slices"

	"google.golang.org/grpc"
)

// IsAtLeastVersion0_1_0 is referenced by generated code, so that code written
// for this release or a later one does not compile against an older core. The
// name in the compiler's message says which version of core is needed.
const IsAtLeastVersion0_1_0 = true

// SupportsGeneratedV1 is referenced by generated code of the first form. A core
// that no longer works with that form drops this constant, so that the code does
// not compile. The remedy is to generate the code again.
const SupportsGeneratedV1 = true

// Protocol is one version of a named set of gRPC services. It is immutable and
// safe for concurrent use.
type Protocol struct {
	name     string
	version  int
	services []*grpc.ServiceDesc
	required int // number of services that must be bound; the services after them are optional
	err      error
}

// maxNameLen bounds a protocol's name: the name travels in an environment variable
// and in the answer line, and people read it.
const maxNameLen = 256

// isName reports whether s is a valid name. A regular expression would cost every start of
// a plugin its compilation.
func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= maxNameLen
}

// New returns version of the protocol called name, which consists of the services in
// descs: the ServiceDesc variables that protoc-gen-go-grpc generates.
//
// The name consists of letters, digits, '_', '-' and '.' (by custom it is a proto
// package). The version is 0 or higher: generated
// protocols begin with 1, and 0 is for peers on go-plugin that set no version. Each service has a name of its own. New
// reports a mistake in these through [Protocol.Err]. Every function that takes the
// Protocol returns that error too, so a package-level variable needs no Must.
//
// A protocol without services is for a host that calls the plugin through a client
// library, without generated code. No handler can be bound to such a protocol.
func New(name string, version int, descs ...*grpc.ServiceDesc) *Protocol {
	p := &Protocol{name: name, version: version, services: slices.Clone(descs), required: len(descs)}
	p.err = p.validate()
	return p
}

// Optional returns a protocol with the services of p and the services in descs. A
// plugin may leave the services in descs unbound. A host that calls an unbound
// service gets codes.Unimplemented. All services of a protocol may be optional:
// call New without services then.
func (p *Protocol) Optional(descs ...*grpc.ServiceDesc) *Protocol {
	q := &Protocol{name: p.name, version: p.version, services: slices.Concat(p.services, descs), required: p.required}
	q.err = q.validate()
	return q
}

func (p *Protocol) validate() error {
	switch {
	case !isName(p.name):
		return fmt.Errorf("protocol name %q: want 1 to %d letters, digits, '_', '-' or '.', starting with a letter or '_'", p.name, maxNameLen)
	case p.version < 0:
		return fmt.Errorf("protocol %s: version %d: want 0 or higher", p.name, p.version)
	}
	seen := make(map[string]bool, len(p.services))
	for _, d := range p.services {
		if d == nil || d.ServiceName == "" {
			return fmt.Errorf("protocol %s: a service description is nil or has no name", p)
		}
		if seen[d.ServiceName] {
			return fmt.Errorf("protocol %s: service %s is listed twice", p, d.ServiceName)
		}
		seen[d.ServiceName] = true
	}
	return nil
}

// Name returns the name shared by all versions of the protocol.
func (p *Protocol) Name() string { return p.name }

// Version returns the protocol version.
func (p *Protocol) Version() int { return p.version }

// Err returns the mistake in the arguments of [New] or [Protocol.Optional], or nil.
func (p *Protocol) Err() error { return p.err }

// String returns "name/version".
func (p *Protocol) String() string { return fmt.Sprintf("%s/%d", p.name, p.version) }

// Services describes the protocol's services: first those given to [New], then those
// given to [Protocol.Optional]. host.Plugin.Services says which of them a running
// plugin serves.
func (p *Protocol) Services() []Service {
	services := make([]Service, 0, len(p.services))
	for i, d := range p.services {
		if d != nil {
			services = append(services, describe(d, i >= p.required))
		}
	}
	return services
}

// Methods returns every method of the protocol's services, in the order of
// [Protocol.Services].
func (p *Protocol) Methods() []Method {
	var methods []Method
	for _, s := range p.Services() {
		methods = append(methods, s.Methods...)
	}
	return methods
}

// Kind returns the kind of the method with the given full name
// ("/package.Service/Method"), and whether the protocol has that method.
func (p *Protocol) Kind(fullMethod string) (Kind, bool) {
	for _, m := range p.Methods() {
		if m.FullName == fullMethod {
			return m.Kind, true
		}
	}
	return 0, false
}

func (p *Protocol) names() []string {
	names := make([]string, 0, len(p.services))
	for _, d := range p.services {
		names = append(names, d.ServiceName)
	}
	return names
}

func (p *Protocol) service(name string) *grpc.ServiceDesc {
	for _, d := range p.services {
		if d.ServiceName == name {
			return d
		}
	}
	return nil
}
