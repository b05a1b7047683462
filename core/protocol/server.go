package protocol

import (
	"errors"

	"google.golang.org/grpc"
)

// FromServer binds what can register itself only on a [*grpc.Server], as many SDKs of
// other frameworks do. The result is used like that of a generated Serve function:
//
//	plugin.Main(protocol.FromServer("tfplugin6", 6, func(s *grpc.Server) error {
//		return sdk.GRPCServer(nil, s)
//	}), ...)
//
// The name and the version have the rules of [New]. Use [Join] for several versions.
// register is called once, before the plugin answers its host, and only if the host
// chose this version. Its error fails the start. It registers services and does
// nothing else with the server. It must not register health, reflection or another
// service that the framework itself serves.
//
// Its handlers are served like others: panics, the drain of a stop, limits on calls,
// interceptors and stats handlers work. Two things are different. The services are
// not known before register has run, so [Protocol.Services] has none. And a
// [*grpc.Server] speaks HTTP/2 only: a plugin that serves such a version offers no
// other wire than h2. Bind the same services with [Bind] to use every wire.
//
// A host that has generated code for the services gives host.WithProtocols a protocol
// with the same name and version that lists them. Without generated code, the host
// calls [New] with only the name and the version.
func FromServer(name string, version int, register func(*grpc.Server) error) Binding {
	p := New(name, version)
	switch {
	case p.err != nil:
		return Binding{err: p.err}
	case register == nil:
		return Binding{err: errors.New("protocol.FromServer: the function is nil")}
	}
	return Binding{bound: []registration{{protocol: p, server: register}}}
}

// FromNewServer is [FromServer] for code that makes the [*grpc.Server] itself. create makes
// a server with the options that it is given and others of its own, and registers the
// services on it. It is called like register of FromServer. The options that it is given are
// what the framework serves with: the caller's own may follow them, and an interceptor among
// those is called first.
//
// Nothing else can be served together with the result: no service is bound to the same
// version, or under the same id of a broker.
func FromNewServer(name string, version int, create func(opts []grpc.ServerOption) (*grpc.Server, error)) Binding {
	p := New(name, version)
	switch {
	case p.err != nil:
		return Binding{err: p.err}
	case create == nil:
		return Binding{err: errors.New("protocol.FromNewServer: the function is nil")}
	}
	return Binding{bound: []registration{{protocol: p, newServer: create}}}
}

// RequiresServer reports whether what is bound to p was made by [FromServer] or
// [FromNewServer], and can therefore be served only by a [*grpc.Server], over HTTP/2.
func (b Binding) RequiresServer(p *Protocol) bool {
	for _, x := range b.bound {
		if x.protocol == p && (x.server != nil || x.newServer != nil) {
			return true
		}
	}
	return false
}

// serverRegistrar is a registrar of packages host and plugin that serves with a
// [*grpc.Server].
type serverRegistrar interface {
	RegisterServer(register func(*grpc.Server) error) error
}

// newServerRegistrar is a serverRegistrar whose server can still be made.
type newServerRegistrar interface {
	RegisterNewServer(create func(opts []grpc.ServerOption) (*grpc.Server, error)) error
}

func registerNewServer(r grpc.ServiceRegistrar, create func([]grpc.ServerOption) (*grpc.Server, error)) error {
	if r, ok := r.(newServerRegistrar); ok {
		return r.RegisterNewServer(create)
	}
	return errors.New("protocol.FromNewServer makes a *grpc.Server, and these services are not served by one of its own")
}

func registerServer(r grpc.ServiceRegistrar, register func(*grpc.Server) error) error {
	switch r := r.(type) {
	case *grpc.Server:
		return register(r)
	case serverRegistrar:
		return r.RegisterServer(register)
	default:
		return errors.New("protocol.FromServer needs a *grpc.Server, and these services are not served by one")
	}
}
