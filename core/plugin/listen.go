package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// restrictWires leaves the wires that can carry calls to what is bound.
func (s *server) restrictWires(binding protocol.Binding) error {
	if !slices.ContainsFunc(slices.Concat(s.families...), binding.RequiresServer) {
		return nil
	}
	if s.wires = rpc.ServerNames(s.wires); len(s.wires) == 0 {
		return errors.New(`plugin.WithWire and protocol.FromServer contradict each other: only the wire "h2" carries calls to what registers itself on a *grpc.Server`)
	}
	return nil
}

// listen negotiates and opens the first transport that can be opened.
func (s *server) listen(ctx context.Context) error {
	if len(s.transports) == 0 {
		return errNoTransports
	}
	protocols := make([]negotiation.Protocol, len(s.families))
	for i, family := range s.families {
		protocols[i] = negotiation.Protocol{Name: family.Name(), Versions: family.Versions()}
	}
	choice, err := negotiation.Choose(s.offer, negotiation.Capabilities{
		Protocols:  protocols,
		Transports: s.transports.IDs(),
		Sessions:   s.sessions(),
		Wires:      s.wires,
	})
	if err != nil {
		return err
	}
	for _, family := range s.families {
		if family.Name() == choice.Protocol {
			s.protocol = family.Version(choice.Version)
		}
	}
	s.answer = negotiation.Answer{
		Version:  choice.Version,
		Plugwire: s.offer.Plugwire,
		Wire:     choice.Wire,
		Protocol: choice.Protocol,
		Instance: s.offer.Instance,
	}
	if s.offer.Plugwire {
		s.answer.Preamble = session.PreambleVersion
	}
	if !s.offer.Plugwire && s.offer.Multiplex != "" {
		s.answer.Multiplex = strconv.FormatBool(s.offer.Multiplexed())
	}
	return s.openFirst(ctx, choice.Candidates)
}

// sessions returns the kinds of session on each transport.
func (s *server) sessions() map[string][]string {
	kinds := make(map[string][]string, len(s.transports))
	for _, t := range s.transports {
		kinds[t.Name()] = session.Kinds(t)
	}
	return kinds
}

// openFirst opens the first candidate that can be opened. The answer says why
// it is not one that the host prefers.
func (s *server) openFirst(ctx context.Context, candidates []negotiation.Candidate) error {
	var skipped []string
	var refusals []*handshake.Error
	for _, c := range candidates {
		err := s.open(ctx, c)
		if err == nil {
			s.answer.Skipped = strings.Join(skipped, "; ")
			return nil
		}
		skipped = append(skipped, fmt.Sprintf("%s: %v", c.Transport, err))
		if refusal, ok := errors.AsType[*handshake.Error](err); ok {
			refusals = append(refusals, refusal)
		}
	}
	if len(refusals) == len(skipped) { // it was not for the transports
		return refusals[0]
	}
	return &handshake.Error{Code: handshake.CodeTransport, Reason: "the plugin could not listen: " + strings.Join(skipped, "; ")}
}

// open listens on one transport, and chooses how the two sides know each other
// on it.
func (s *server) open(ctx context.Context, c negotiation.Candidate) error {
	t := s.transports.ByName(c.Transport.Name)
	s.creds, s.answer.Cert = nil, nil
	cfg := transport.ListenConfig{
		Version: c.Transport.Version,
		Dir:     s.offer.SocketDir,
		Group:   s.offer.SocketGroup,
		MinPort: s.offer.MinPort,
		MaxPort: s.offer.MaxPort,
		Logger:  s.runtime.logger,
	}
	if c.Session == handshake.SessionNative {
		if err := s.secure(false); err != nil {
			return err
		}
		cfg.TLS = s.creds.TLSConfig()
	}
	var err error
	if cfg.Files, err = s.files.take(t.Name()); err != nil {
		return err
	}
	if s.listener, err = s.lifeline.listen(func() (net.Listener, error) { return t.Listen(ctx, cfg) }); err != nil {
		return err
	}
	s.answer.Network, s.answer.Transport, s.answer.Session = t.Name(), c.Transport, c.Session
	s.answer.Transports = nil
	if !canBroker(c.Transport) {
		s.answer.Transports = s.transports.IDs() // its broker needs another one
	}
	peerCred := secure.PeerCredSupported
	if _, prepared := t.(transport.Preparer); prepared {
		peerCred = secure.PeerCredOfPairs
		s.answer.Address = session.NoAddress
	} else {
		s.answer.Address = s.listener.Addr().String()
		err = transport.CheckAddress(s.answer.Address)
	}
	if err == nil && s.creds == nil {
		err = s.secure(peerCred && s.listener.Addr().Network() == "unix")
	}
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	return nil
}

// secure chooses how the two sides know each other. peerCred says whether the
// kernel vouches for the peer on the transport.
func (s *server) secure(peerCred bool) error {
	var able []string
	if peerCred {
		able = append(able, handshake.SecurityPeerCred)
	}
	if s.offer.ClientCert != "" {
		able = append(able, handshake.SecurityMTLS)
	}
	if s.tls != nil {
		able = []string{handshake.SecurityTLS} // its user wants no less
	}
	chosen, err := negotiation.ChooseSecurity(s.offer, able)
	if err != nil {
		return err
	}
	if s.tls != nil && !s.offer.Plugwire {
		chosen = handshake.SecurityTLS // as go-plugin's TLSProvider: both sides were told
	}
	s.answer.Security = chosen
	switch chosen {
	case handshake.SecurityPeerCred:
		s.creds = secure.PeerCred(os.Geteuid())
	case handshake.SecurityTLS:
		s.creds = secure.OwnTLS(handshake.SecurityTLS, s.tls)
	case handshake.SecurityMTLS:
		return s.mutualTLS()
	default:
		s.creds = secure.Plaintext()
	}
	return nil
}

func (s *server) mutualTLS() error {
	host, err := secure.ParsePEM(s.offer.ClientCert)
	if err != nil {
		return &handshake.Error{Code: handshake.CodeSecurity, Reason: fmt.Sprintf("the host's certificate in %s does not parse: %v", negotiation.EnvClientCert, err)}
	}
	id, err := secure.NewIdentity()
	if err != nil {
		return err
	}
	s.answer.Cert = id.DER()
	s.creds = secure.MutualTLS(id, host)
	return nil
}
