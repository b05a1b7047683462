package host

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/transport"
)

// Translator is a [Process] whose plugin sees other addresses than its host: in a
// container, a virtual machine or on another machine. Without it an address means the
// same to both. Its methods are safe for concurrent use.
//
// The network is the name of a transport, such as "unix", and the address is in the
// syntax of that transport. A translation may change both: the socket of a plugin in a
// virtual machine may be reachable by a forwarded port. The network for the host must
// be one of the transports given to [WithTransports]. The host dials it in version 1,
// which adds no bytes of its own, and its kind of session must be the same. Peer
// credentials exist only on unix sockets, so another network needs [WithMutualTLS] or
// [WithTLSConfig].
//
// An address to translate comes from the plugin: it is untrusted.
type Translator interface {
	// PluginToHost returns how the host reaches what the plugin calls address.
	PluginToHost(network, address string) (hostNetwork, hostAddress string, err error)
	// HostToPlugin returns how the plugin reaches what the host calls address.
	HostToPlugin(network, address string) (pluginNetwork, pluginAddress string, err error)
}

// toHost translates an address of the plugin for the host.
func (c *child) toHost(network, address string) (hostNetwork, hostAddress string, err error) {
	t, ok := processAs[Translator](c.Process)
	if !ok {
		return network, address, nil
	}
	hostNetwork, hostAddress, err = t.PluginToHost(network, address)
	if err != nil {
		return "", "", fmt.Errorf("the runner knows no way from the host to the plugin's address %s:%s: %w", network, address, err)
	}
	return hostNetwork, hostAddress, nil
}

// toPlugin translates an address of the host for the plugin.
func (c *child) toPlugin(network, address string) (pluginNetwork, pluginAddress string, err error) {
	t, ok := processAs[Translator](c.Process)
	if !ok {
		return network, address, nil
	}
	pluginNetwork, pluginAddress, err = t.HostToPlugin(network, address)
	if err != nil {
		return "", "", fmt.Errorf("the runner knows no way from the plugin to the host's address %s:%s: %w", network, address, err)
	}
	return pluginNetwork, pluginAddress, nil
}

// dialed returns the transport and the address that the host dials for an answer: the
// agreed transport, or the one that the runner translates it to.
func (l *launch) dialed(ctx context.Context, answer *negotiation.Answer) (transport.Transport, transport.DialConfig, error) {
	cfg := transport.DialConfig{Version: answer.Transport.Version, Logger: l.logger}
	network, address, err := l.child.toHost(answer.Transport.Name, answer.Address)
	if err != nil {
		return nil, cfg, err
	}
	if cfg.Address = address; !answer.Plugwire {
		if cfg.Address, err = l.foreignAddress(ctx, network, address); err != nil {
			return nil, cfg, err
		}
	}
	if a, ok := l.child.Process.(*attachedProcess); ok {
		cfg.Unwatched = !a.isProven(0) // nothing says yet which process is at the other end
	}
	t := l.transports.ByName(network)
	switch {
	case t == nil:
		return nil, cfg, fmt.Errorf("the runner says that the plugin's address %s:%s is %s:%s here, and the host has no transport %s: add it with host.WithTransports", answer.Transport.Name, answer.Address, network, address, network)
	case network != answer.Transport.Name:
		cfg.Version = plainVersion
	}
	return t, cfg, nil
}

// plainVersion is the version of a transport that carries the bytes of another one:
// version 1 of unix and of tcp adds none.
const plainVersion = 1
