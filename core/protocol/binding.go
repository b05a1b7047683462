package protocol

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/grpc"
)

// A Binding is handlers bound to the services of one or more versions of one or
// more protocols: what a plugin serves. The zero value serves nothing, which is an
// error where it is used. A Binding is immutable.
type Binding struct {
	bound []bound
	err   error
}

type bound struct {
	protocol *Protocol
	service  *grpc.ServiceDesc
	handler  any
	named    bool // in Bind, as generated code does: the handler was meant for no other
}

// Bind binds handler to those of p's services that are named in services, or,
// when none are named, to every service of p whose methods handler has.
//
// A handler fits when it implements the service's generated server interface;
// an error names the method that is missing or of the wrong form. Errors, also
// those of [New], are kept in the Binding and returned by plugin.Main and
// plugin.Serve, so that calls nest. Generated code calls Bind with an adaptor
// around a handler interface that has the RPC methods only; that way a missing
// method is a compile error.
func Bind(p *Protocol, handler any, services ...string) Binding {
	b, err := bind(p, handler, services)
	if err != nil {
		return Binding{err: fmt.Errorf("bind handler %T: %w", handler, err)}
	}
	return Binding{bound: b}
}

func bind(p *Protocol, handler any, services []string) ([]bound, error) {
	if p == nil {
		return nil, errors.New("the protocol is nil")
	}
	if p.err != nil {
		return nil, p.err
	}
	if isNil(handler) {
		return nil, fmt.Errorf("the handler for protocol %s is nil", p)
	}
	var fits []bound
	if len(services) > 0 {
		for _, name := range services {
			desc := p.service(name)
			if desc == nil {
				return nil, fmt.Errorf("protocol %s has no service %s (it has %s)", p, name, strings.Join(p.Services(), ", "))
			}
			if err := misfit(desc, handler); err != nil {
				return nil, err
			}
			fits = append(fits, bound{p, desc, handler, true})
		}
		return fits, nil
	}
	var errs []error
	for _, desc := range p.services {
		if err := misfit(desc, handler); err != nil {
			errs = append(errs, err)
			continue
		}
		fits = append(fits, bound{p, desc, handler, false})
	}
	if len(fits) == 0 {
		return nil, errors.Join(errs...)
	}
	return fits, nil
}

// misfit says why handler cannot serve desc. It exists because grpc's
// RegisterService ends the process where this returns an error.
func misfit(desc *grpc.ServiceDesc, handler any) error {
	want := reflect.TypeOf(desc.HandlerType)
	if want == nil || want.Kind() != reflect.Pointer || want.Elem().Kind() != reflect.Interface {
		return fmt.Errorf("service %s: its description has no handler interface", desc.ServiceName)
	}
	want = want.Elem()
	have := reflect.TypeOf(handler)
	if have.Implements(want) {
		return nil
	}
	for m := range want.Methods() {
		got, ok := have.MethodByName(m.Name)
		switch {
		case !ok && m.PkgPath != "":
			// An unexported method cannot be looked up by name; it is the one
			// that generated code demands as a mark of an embedded struct.
			continue
		case !ok && hasPointerMethod(have, m.Name):
			return fmt.Errorf("service %s: method %s has a pointer receiver: bind &handler", desc.ServiceName, m.Name)
		case !ok:
			return fmt.Errorf("service %s: method %s is missing", desc.ServiceName, m.Name)
		case !sameSignature(got.Type, m.Type):
			return fmt.Errorf("service %s: method %s has the wrong form: want %s", desc.ServiceName, m.Name, m.Type)
		}
	}
	return fmt.Errorf("service %s: the handler does not embed the generated Unimplemented (or Unsafe) struct that %s demands", desc.ServiceName, want)
}

func hasPointerMethod(t reflect.Type, name string) bool {
	if t.Kind() == reflect.Pointer {
		return false
	}
	_, ok := reflect.PointerTo(t).MethodByName(name)
	return ok
}

// sameSignature compares a concrete method, whose first parameter is its
// receiver, with an interface's.
func sameSignature(concrete, iface reflect.Type) bool {
	if concrete.NumIn() != iface.NumIn()+1 || concrete.NumOut() != iface.NumOut() || concrete.IsVariadic() != iface.IsVariadic() {
		return false
	}
	for i := range iface.NumIn() {
		if concrete.In(i+1) != iface.In(i) {
			return false
		}
	}
	for i := range iface.NumOut() {
		if concrete.Out(i) != iface.Out(i) {
			return false
		}
	}
	return true
}

func isNil(handler any) bool {
	if handler == nil {
		return true
	}
	v := reflect.ValueOf(handler)
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return v.IsNil()
	default:
		return false
	}
}

// Join returns one Binding with everything that bindings hold: services of one
// protocol version, several versions, several protocols. A host asks for one
// protocol by its name; a host on go-plugin sends no name, and gets the first.
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

// Family is [Binding.Families] where there has to be one protocol: more are an
// error.
func (b Binding) Family() (Family, error) {
	families, err := b.Families()
	if err != nil {
		return nil, err
	}
	return NewFamily(slices.Concat(families...)...)
}

// Families checks the whole binding and returns the protocols that it serves,
// each with its versions, in the order in which they were first bound. Each
// service of each version must be bound exactly once; an optional one may be
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

// check returns an error if a service of the family is not bound as often as it
// has to be.
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

// Services returns the names of the services of p that are bound, in the order
// of [Protocol.Services].
func (b Binding) Services(p *Protocol) []string {
	return slices.DeleteFunc(p.Services(), func(name string) bool { return b.count(p, p.service(name)) == 0 })
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

// nearest says why the one kind of handler that was bound to p does not also
// serve desc; with several kinds, or services named, nobody can tell whether one
// was meant to.
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

// Register registers the services of p, and of no other protocol in the
// binding, with r. Call it only after [Binding.Family] returned no error.
func (b Binding) Register(r grpc.ServiceRegistrar, p *Protocol) {
	for _, x := range b.bound {
		if x.protocol == p {
			r.RegisterService(x.service, x.handler)
		}
	}
}
