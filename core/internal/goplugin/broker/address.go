package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

// networks are the networks of addresses (grpc_broker.go in go-plugin). Each is also the name
// of a transport, at version 1.
var networks = []string{"unix", "tcp"}

const addressVersion = 1

// Addresses gives each id an address of its own. It is for a connection that is not
// multiplexed.
type Addresses struct {
	// Transports are the transports of this side.
	Transports transport.Set
	// Networks are the networks on which this side may listen, the best first (see
	// [Networks]).
	Networks []string
	// Listening says how this side listens. Listen sets its version.
	Listening transport.ListenConfig
	// Credentials authenticate the two sides, like those of the connection for calls.
	Credentials *secure.Credentials
	// Opened, if set, opens a listener by calling open, and so gets every listener.
	Opened func(open func() (net.Listener, error)) (net.Listener, error)
	// Dir is the working directory of the other side, if it differs from this side's. A
	// peer on go-plugin with a relative TMPDIR sends relative paths.
	Dir string
	// ToOther translates addresses of this side for the other, and FromOther those of the
	// other side. Either may be nil.
	ToOther, FromOther func(network, address string) (string, string, error)
}

// Networks returns the networks that brokered connections can travel over, the best first.
// chosen is the transport of the connection for calls: the other side has it, and can reach
// this side over it. If chosen is not one of the networks, Networks returns those among
// others, which are transports that the other side has too.
func Networks(chosen transport.ID, others []transport.ID) []string {
	if isNetwork(chosen) {
		return []string{chosen.Name}
	}
	var all []string
	for _, id := range others {
		if isNetwork(id) {
			all = append(all, id.Name)
		}
	}
	return all
}

func isNetwork(id transport.ID) bool {
	return id.Version == addressVersion && slices.Contains(networks, id.Name)
}

var errNoNetwork = errors.New("brokered connections need transport unix or tcp, and host and plugin do not both have one of them: add it with host.WithTransports and plugin.WithTransports")

var errNoTLS = errors.New("brokered connections would travel over tcp, where TLS must authenticate the other side, and the connection for calls has no TLS: demand it with host.WithMutualTLS, or add transport unix with host.WithTransports and plugin.WithTransports")

// Listen opens an address.
func (a *Addresses) Listen(ctx context.Context) (own *session.Listener, network, address string, err error) {
	t, err := a.transport()
	if err != nil {
		return nil, "", "", err
	}
	cfg := a.Listening
	cfg.Version = addressVersion
	open := func() (net.Listener, error) { return t.Listen(ctx, cfg) }
	var ln net.Listener
	if a.Opened != nil {
		ln, err = a.Opened(open)
	} else {
		ln, err = open()
	}
	if err != nil {
		return nil, "", "", err
	}
	network, address = t.Name(), ln.Addr().String()
	if a.ToOther != nil {
		if network, address, err = a.ToOther(network, address); err != nil {
			return nil, "", "", errors.Join(err, ln.Close())
		}
	}
	return session.NewListener(ln, session.ListenerConfig{
		Kind: handshake.SessionDirect, Credentials: a.Credentials.WithALPN(h2.ALPN), Foreign: true, Logger: a.Listening.Logger,
	}), network, address, nil
}

// transport returns the transport to listen on.
func (a *Addresses) transport() (transport.Transport, error) {
	none := errNoNetwork
	for _, name := range a.Networks {
		t := a.Transports.ByName(name)
		switch {
		case t == nil || !slices.Contains(t.Versions(), addressVersion):
		case name == "tcp" && a.Credentials.Security() == handshake.SecurityPeerCred:
			none = errNoTLS // nothing would authenticate the peer
		default:
			return t, nil
		}
	}
	return nil, none
}

// Dial dials an address of the other side, and authenticates both sides.
func (a *Addresses) Dial(ctx context.Context, network, address string) (net.Conn, secure.Info, error) {
	var err error
	if a.FromOther != nil {
		if network, address, err = a.FromOther(network, address); err != nil {
			return nil, secure.Info{}, err
		}
	}
	if network == "unix" && address != "" && !filepath.IsAbs(address) && !strings.HasPrefix(address, "@") {
		if address, err = filepath.Abs(filepath.Join(a.Dir, address)); err != nil {
			return nil, secure.Info{}, err
		}
	}
	t := a.Transports.ByName(network)
	switch {
	case !slices.Contains(networks, network):
		return nil, secure.Info{}, fmt.Errorf("the other side says that it listens on network %.64q, and only %q are possible", network, networks)
	case t == nil:
		return nil, secure.Info{}, fmt.Errorf("the other side listens on %s, and this side does not have that transport: add it with host.WithTransports and plugin.WithTransports", network)
	}
	if err := transport.CheckAddress(address); err != nil {
		return nil, secure.Info{}, fmt.Errorf("the other side's address: %w", err)
	}
	s, err := session.Dial(ctx, session.Config{
		Kind:        handshake.SessionDirect,
		Transport:   t,
		Dial:        transport.DialConfig{Version: addressVersion, Address: address, Logger: a.Listening.Logger},
		Credentials: a.Credentials.WithALPN(h2.ALPN),
		Foreign:     true,
	})
	if err != nil {
		return nil, secure.Info{}, err
	}
	stream, err := s.Open(ctx, session.Preamble{})
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: the socket belongs to the user that the plugin was started as, and this process runs as user %d: start the plugin as that user (SysProcAttr.Credential), or put transport tcp first with host.WithTransports", err, os.Geteuid())
	}
	if err != nil {
		return nil, secure.Info{}, err
	}
	return stream.Conn, stream.Info, nil
}
