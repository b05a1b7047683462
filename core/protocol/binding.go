package protocol

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/grpc"
)

// Binding is what a plugin serves: handlers that are bound to the services of one or
// more versions of one or more protocols. The zero value serves nothing, and using it
// is an error. A Binding is immutable.
type Binding struct {
	bound []registration
	err   error
}

// registration is one handler of one service, or what registers the services of a protocol
// on a server.
type registration struct {
	protocol *Protocol
	service  *grpc.ServiceDesc
	handler  any
	named    bool // the caller of Bind named the service, so the handler is for no other
	server   func(*grpc.Server) error
	// newServer makes a server that has the services.
	newServer func([]grpc.ServerOption) (*grpc.Server, error)
}

// Bind binds handler to the services of p that are named in services. Without names
// it binds handler to every service of p whose methods handler has.
//
// A handler fits when it implements the service's generated server interface. If it
// does not fit, the error names the method that is missing or has the wrong form. The
// Binding keeps errors, also those of [New], and plugin.Main and plugin.Serve return
// them, so that calls nest.
//
// Generated code calls Bind with an adaptor around a handler interface that has the
// RPC methods only. A missing method is then a compile error.
func Bind(p *Protocol, handler any, services ...string) Binding {
	b, err := bind(p, handler, services)
	if err != nil {
		return Binding{err: fmt.Errorf("bind handler %T: %w", handler, err)}
	}
	return Binding{bound: b}
}

func bind(p *Protocol, handler any, services []string) ([]registration, error) {
	if p == nil {
		return nil, errors.New("the protocol is nil")
	}
	if p.err != nil {
		return nil, p.err
	}
	if isNil(handler) {
		return nil, fmt.Errorf("the handler for protocol %s is nil", p)
	}
	var fits []registration
	if len(services) > 0 {
		for _, name := range services {
			desc := p.service(name)
			if desc == nil {
				return nil, fmt.Errorf("protocol %s has no service %s (it has %s)", p, name, strings.Join(p.names(), ", "))
			}
			if err := misfit(desc, handler); err != nil {
				return nil, err
			}
			fits = append(fits, registration{protocol: p, service: desc, handler: handler, named: true})
		}
		return fits, nil
	}
	if len(p.services) == 0 {
		return nil, fmt.Errorf("protocol %s has no services", p)
	}
	var errs []error
	for _, desc := range p.services {
		if err := misfit(desc, handler); err != nil {
			errs = append(errs, err)
			continue
		}
		fits = append(fits, registration{protocol: p, service: desc, handler: handler})
	}
	if len(fits) == 0 {
		return nil, errors.Join(errs...)
	}
	return fits, nil
}

// Join returns one Binding with everything that bindings hold: services of one
// protocol version, several versions, several protocols. A host asks for one
// protocol by its name. A host on go-plugin sends no name and gets the first.
func Join(bindings ...Binding) Binding {
	var joined Binding
	var errs []error
	for _, b := range bindings {
		if b.err != nil {
			errs = append(errs, b.err)
		}
		joined.bound = append(joined.bound, b.bound...)
	}
	joined.err = errors.Join(errs...)
	return joined
}

// Family returns the one protocol of the binding with its versions. More than one
// protocol is an error. Otherwise Family works like [Binding.Families].
func (b Binding) Family() (Family, error) {
	families, err := b.Families()
	if err != nil {
		return nil, err
	}
	return NewFamily(slices.Concat(families...)...)
}

// Families checks the whole binding and returns its protocols, each with its
// versions, in the order in which they were first bound. It returns an error unless
// each service of each version is bound exactly once. An optional service may be
// unbound.
func (b Binding) Families() ([]Family, error) {
	if b.err != nil {
		return nil, b.err
	}
	if len(b.bound) == 0 {
		return nil, errors.New("nothing is bound: use a generated Serve function or protocol.Bind")
	}
	var names []string
	protocols := make(map[string][]*Protocol) // by name
	for _, x := range b.bound {
		name := x.protocol.name
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		protocols[name] = append(protocols[name], x.protocol)
	}
	families := make([]Family, len(names))
	for i, name := range names {
		family, err := NewFamily(protocols[name]...)
		if err != nil {
			return nil, err
		}
		if err := b.check(family); err != nil {
			return nil, err
		}
		families[i] = family
	}
	return families, nil
}

// check returns an error if a required service of the family is unbound, or if a
// service is bound more than once.
func (b Binding) check(family Family) error {
	for _, p := range family {
		for i, desc := range p.services {
			switch n := b.count(p, desc); {
			case n == 0 && i < p.required:
				return fmt.Errorf("protocol %s: service %s is not bound%s: bind it too (protocol.Join), "+
					"or make it optional, or give it a protocol of its own if the other side serves it (option plugwire.service_protocol)",
					p, desc.ServiceName, b.nearest(p, desc))
			case n > 1:
				return fmt.Errorf("protocol %s: service %s is bound %d times: name the services in Bind", p, desc.ServiceName, n)
			}
		}
	}
	return nil
}

// Services returns the names of the services of p that are bound, in the order of
// [Protocol.Services]. It does not know the services that a function of [FromServer]
// registers.
func (b Binding) Services(p *Protocol) []string {
	return slices.DeleteFunc(p.names(), func(name string) bool { return b.count(p, p.service(name)) == 0 })
}

func (b Binding) count(p *Protocol, desc *grpc.ServiceDesc) int {
	n := 0
	for _, x := range b.bound {
		if x.protocol == p && x.service == desc {
			n++
		}
	}
	return n
}

// nearest says why the handler that was bound to p does not also serve desc. It says
// nothing if Bind was given names or handlers of several types: the error could then
// blame a handler that was never meant for desc.
func (b Binding) nearest(p *Protocol, desc *grpc.ServiceDesc) string {
	var handler any
	for _, x := range b.bound {
		if x.protocol != p {
			continue
		}
		if x.named || handler != nil && reflect.TypeOf(handler) != reflect.TypeOf(x.handler) {
			return ""
		}
		handler = x.handler
	}
	if handler == nil {
		return ""
	}
	return fmt.Sprintf(" (handler %T: %v)", handler, misfit(desc, handler))
}

// Register registers the services of p with r, and those of no other protocol in the
// binding. Call it only after [Binding.Families] returned no error. An error comes from
// a function of [FromServer], or says that r cannot serve what such a function
// registers. For such a function r must be a [*grpc.Server], or what packages host and
// plugin use.
func (b Binding) Register(r grpc.ServiceRegistrar, p *Protocol) error {
	for _, x := range b.bound {
		switch {
		case x.protocol != p:
		case x.server != nil:
			if err := registerServer(r, x.server); err != nil {
				return fmt.Errorf("protocol %s: %w", p, err)
			}
		case x.newServer != nil:
			if err := registerNewServer(r, x.newServer); err != nil {
				return fmt.Errorf("protocol %s: %w", p, err)
			}
		default:
			r.RegisterService(x.service, x.handler)
		}
	}
	return nil
}
