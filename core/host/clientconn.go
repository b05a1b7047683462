package host

import (
	"errors"

	"google.golang.org/grpc"
)

// ClientConn returns the connection for calls to the plugin, for client libraries that
// want a [*grpc.ClientConn]. Generated code does not need it: the Plugin itself is a
// [grpc.ClientConnInterface].
//
// Calls on it have the same interceptors, stats handlers and errors as calls on the
// Plugin. It stays the same when the server of a plugin on go-plugin renews its
// connection. It belongs to the Plugin: do not close it. Its state can be read, but only
// [Plugin.Done] says that the plugin has ended.
//
// Only the wire h2 has such a connection. If calls travel on another wire, ClientConn
// returns an error: launch the plugin with WithWire("h2") then.
func (p *Plugin) ClientConn() (*grpc.ClientConn, error) {
	c, ok := p.client.(interface{ ClientConn() *grpc.ClientConn })
	if !ok {
		return nil, errNoClientConn
	}
	return c.ClientConn(), nil
}

// WithDialOptions adds options to the connection for calls, which [Plugin.ClientConn]
// returns: for example a keepalive, or the compression of calls. What the framework itself
// sets has precedence: credentials, dialer, authority and service config. Interceptors that
// are given here also see the framework's own calls; prefer [WithInterceptors]. The options
// have no effect on another wire than h2.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return optionFunc(func(cfg *config) error {
		cfg.dialOptions = append(cfg.dialOptions, opts...)
		return nil
	})
}

var errNoClientConn = errors.New(`only the wire h2 has a *grpc.ClientConn, and calls to this plugin travel on another: add host.WithWire("h2")`)
