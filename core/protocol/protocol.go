// Package protocol says what a host and a plugin speak: a named, versioned set
// of gRPC services, and the handlers that serve them.
//
// Generated code calls [New] once per protocol version and [Bind] once per
// service, so a user normally meets this package as two values: the Protocol
// that goes into host.WithProtocols and the Binding that goes into plugin.Main.
// It is not for connecting anything: packages host and plugin do that.
package protocol

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"
)

// IsAtLeastVersion0_1_0 is referenced by generated code, so that code written
// for this release or a later one does not compile against an older core; the
// name in the compiler's message says which version of core is needed.
const IsAtLeastVersion0_1_0 = true

// SupportsGeneratedV1 is referenced by generated code of the first form. A core
// that no longer works with that form drops this constant, so that the code does
// not compile; the remedy is to generate it again.
const SupportsGeneratedV1 = true

// Kind is how many messages each side of a method sends.
type Kind int

// The four kinds of gRPC methods.
const (
	Unary Kind = iota + 1
	ServerStreaming
	ClientStreaming
	Bidirectional
)

// String returns the field's usual name of the kind, for example
// "server-streaming".
func (k Kind) String() string {
	switch k {
	case Unary:
		return "unary"
	case ServerStreaming:
		return "server-streaming"
	case ClientStreaming:
		return "client-streaming"
	case Bidirectional:
		return "bidirectional"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// Method is one method of a protocol's services.
type Method struct {
	// FullName is the name on the wire, "/package.Service/Method".
	FullName string
	// Kind is read from the service's description.
	Kind Kind
}

// Protocol is one version of a named set of gRPC services. It is immutable and
// safe for concurrent use.
type Protocol struct {
	name     string
	version  int
	services []*grpc.ServiceDesc
	required int // of services: those after them may be unbound
	err      error
}

// maxNameLen bounds a protocol's name: it travels in an environment variable
// and in the answer line, and a person has to read it.
const maxNameLen = 256

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// New describes version of the protocol called name, made of the services in
// descs, which are the ServiceDesc variables that protoc-gen-go-grpc generates.
//
// The name is letters, digits, '_', '-' and '.' (a proto package, by custom),
// the version is 1 or higher, and there is at least one service, each with its
// own name. New reports a mistake in these through [Protocol.Err], and every
// function that is given the value returns that error, so that a package-level
// variable needs no Must.
func New(name string, version int, descs ...*grpc.ServiceDesc) *Protocol {
	p := &Protocol{name: name, version: version, services: slices.Clone(descs), required: len(descs)}
	p.err = p.validate()
	return p
}

// Optional returns a protocol that has the services of p, and those in descs,
// which a plugin may leave unbound. A host that calls one that is not bound gets
// codes.Unimplemented. All services of a protocol may be optional: New is then
// called with none.
func (p *Protocol) Optional(descs ...*grpc.ServiceDesc) *Protocol {
	q := &Protocol{name: p.name, version: p.version, services: slices.Concat(p.services, descs), required: p.required}
	q.err = q.validate()
	return q
}

func (p *Protocol) validate() error {
	switch {
	case len(p.name) > maxNameLen || !validName.MatchString(p.name):
		return fmt.Errorf("protocol name %q: want 1 to %d letters, digits, '_', '-' or '.', starting with a letter or '_'", p.name, maxNameLen)
	case p.version < 1:
		return fmt.Errorf("protocol %s: version %d: want 1 or higher", p.name, p.version)
	case len(p.services) == 0:
		return fmt.Errorf("protocol %s: no services", p)
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

// Err returns what is wrong with the arguments that [New] was given, or nil.
func (p *Protocol) Err() error { return p.err }

// String returns "name/version".
func (p *Protocol) String() string { return fmt.Sprintf("%s/%d", p.name, p.version) }

// Services returns the names of the protocol's services in the order given to
// [New], and then those given to [Protocol.Optional].
func (p *Protocol) Services() []string {
	names := make([]string, 0, len(p.services))
	for _, d := range p.services {
		if d != nil {
			names = append(names, d.ServiceName)
		}
	}
	return names
}

// Methods returns every method of the protocol's services, in the order of the
// descriptions.
func (p *Protocol) Methods() []Method {
	var methods []Method
	for _, d := range p.services {
		if d == nil {
			continue
		}
		for i := range d.Methods {
			methods = append(methods, Method{FullName: fullName(d, d.Methods[i].MethodName), Kind: Unary})
		}
		for i := range d.Streams {
			methods = append(methods, Method{FullName: fullName(d, d.Streams[i].StreamName), Kind: streamKind(&d.Streams[i])})
		}
	}
	return methods
}

// Kind returns the kind of the method with the given full name
// ("/package.Service/Method"), and whether the protocol has it.
func (p *Protocol) Kind(fullMethod string) (Kind, bool) {
	for _, m := range p.Methods() {
		if m.FullName == fullMethod {
			return m.Kind, true
		}
	}
	return 0, false
}

func (p *Protocol) service(name string) *grpc.ServiceDesc {
	for _, d := range p.services {
		if d.ServiceName == name {
			return d
		}
	}
	return nil
}

func fullName(d *grpc.ServiceDesc, method string) string {
	return "/" + d.ServiceName + "/" + method
}

func streamKind(s *grpc.StreamDesc) Kind {
	switch {
	case s.ServerStreams && s.ClientStreams:
		return Bidirectional
	case s.ClientStreams:
		return ClientStreaming
	default:
		return ServerStreaming
	}
}

// A Family is the versions of one protocol that one side speaks, highest
// version first.
type Family []*Protocol

// NewFamily checks that protocols is not empty, that all are valid and share a
// name, and that their versions are distinct.
func NewFamily(protocols ...*Protocol) (Family, error) {
	if len(protocols) == 0 {
		return nil, errors.New("no protocol given")
	}
	family := make(Family, 0, len(protocols))
	for _, p := range protocols {
		if p == nil {
			return nil, errors.New("a protocol is nil")
		}
		if p.err != nil {
			return nil, p.err
		}
		if p.name != protocols[0].name {
			return nil, fmt.Errorf("protocols %s and %s have different names: these have to be versions of one protocol; put further services into the same protocol value", protocols[0], p)
		}
		if slices.ContainsFunc(family, func(q *Protocol) bool { return q.version == p.version && q != p }) {
			return nil, fmt.Errorf("protocol %s is given twice, by two different values", p)
		}
		if !slices.Contains(family, p) {
			family = append(family, p)
		}
	}
	slices.SortFunc(family, func(a, b *Protocol) int { return b.version - a.version })
	return family, nil
}

// Name returns the name that all versions share.
func (f Family) Name() string { return f[0].name }

// Versions returns the versions, highest first.
func (f Family) Versions() []int {
	versions := make([]int, len(f))
	for i, p := range f {
		versions[i] = p.version
	}
	return versions
}

// Version returns the protocol of that version, or nil.
func (f Family) Version(version int) *Protocol {
	for _, p := range f {
		if p.version == version {
			return p
		}
	}
	return nil
}

// String returns the name and the versions, "name 2, 1".
func (f Family) String() string {
	versions := make([]string, len(f))
	for i, p := range f {
		versions[i] = strconv.Itoa(p.version)
	}
	return f.Name() + " " + strings.Join(versions, ", ")
}
