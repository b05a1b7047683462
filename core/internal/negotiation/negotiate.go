package negotiation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

// Capabilities are what a plugin has, for [Choose].
type Capabilities struct {
	// Protocols that it serves, at least one. The first is for a host that names none.
	Protocols []Protocol
	// Transports that it can listen on, in any order.
	Transports []transport.ID
	// Sessions that it has on each transport, by its name, and Wires that it
	// has, in any order.
	Sessions map[string][]string
	Wires    []string
}

// A Protocol is a name, and the versions of it that a plugin serves. Versions is
// not empty.
type Protocol struct {
	Name     string
	Versions []int
}

// A Candidate is a transport that both sides have, and the kind of session on it.
type Candidate struct {
	Transport transport.ID
	Session   string
}

// A Choice is what a plugin chooses from an offer before it opens a transport.
type Choice struct {
	// Protocol is the name of the protocol, and Version its version.
	Protocol string
	Version  int
	// Candidates to try in this order: the plugin takes the first that it can open.
	Candidates []Candidate
	// Wire is the wire that carries calls.
	Wire string
}

// Choose applies the rules of negotiation on the plugin's side. An error is a
// [*handshake.Error].
//
// The protocol is the one that the host names, or the plugin's first if the host names
// none. The protocol version is the highest that both have. If they have none in
// common, a foreign host gets the plugin's lowest version, because that host can
// explain the mismatch only with an answer. The candidates are the transports whose
// names both have, in the host's order. Each has the highest version that both have,
// and the first of the host's sessions that the plugin has on it. A transport without
// either is left out.
func Choose(o *Offer, have Capabilities) (Choice, error) {
	var c Choice
	p, err := chooseProtocol(o, have.Protocols)
	if err != nil {
		return c, err
	}
	c.Protocol = p.Name
	versions := slices.DeleteFunc(slices.Clone(p.Versions), func(v int) bool { return !slices.Contains(o.Versions, v) })
	switch {
	case len(versions) > 0:
		c.Version = slices.Max(versions)
	case o.Plugwire:
		return c, differentVersions("no version of protocol "+p.Name, o.Versions, p.Versions)
	default:
		c.Version = slices.Min(p.Versions)
	}
	common := commonTransports(o.Transports, have.Transports)
	if len(common) == 0 {
		return c, &handshake.Error{
			Code: handshake.CodeTransport, Reason: "host and plugin have no transport in common",
			Host: strings.Join(transportStrings(o.Transports), ", "), Plugin: strings.Join(transportStrings(have.Transports), ", "),
			Hint: "give one of them a transport of the other's with WithTransports",
		}
	}
	sessions := o.Sessions
	if !o.Plugwire {
		sessions = []string{handshake.SessionDirect}
	}
	for _, id := range common {
		if session, ok := first(sessions, have.Sessions[id.Name]); ok {
			if o.Multiplexed() {
				session = handshake.SessionYamux // on the one connection that go-plugin makes
			}
			c.Candidates = append(c.Candidates, Candidate{id, session})
		}
	}
	if len(c.Candidates) == 0 {
		return c, &handshake.Error{Code: handshake.CodeSession, Reason: "host and plugin have no kind of session in common", Host: strings.Join(sessions, ", "), Plugin: describeSessions(common, have.Sessions)}
	}
	c.Wire = handshake.WireH2
	if !o.Plugwire {
		return c, nil
	}
	var ok bool
	if c.Wire, ok = first(o.Wires, have.Wires); !ok {
		return c, &handshake.Error{Code: handshake.CodeWire, Reason: "host and plugin have no wire in common", Host: strings.Join(o.Wires, ", "), Plugin: strings.Join(have.Wires, ", ")}
	}
	return c, nil
}

// chooseProtocol returns the protocol that the host names, or the plugin's first if the
// host names none.
func chooseProtocol(o *Offer, have []Protocol) (Protocol, error) {
	if o.Protocol == "" {
		return have[0], nil
	}
	names := make([]string, len(have))
	for i, p := range have {
		if p.Name == o.Protocol {
			return p, nil
		}
		names[i] = p.Name
	}
	return Protocol{}, differentProtocols(o.Protocol, strings.Join(names, ", "))
}

// ChooseSecurity returns the security for an open transport: the first in the host's
// order that is in able. A foreign host gets mutual TLS exactly if it sent its
// certificate.
func ChooseSecurity(o *Offer, able []string) (string, error) {
	if !o.Plugwire {
		if o.ClientCert != "" {
			return handshake.SecurityMTLS, nil
		}
		return handshake.SecurityNone, nil
	}
	if s, ok := first(o.Security, able); ok {
		return s, nil
	}
	e := &handshake.Error{Code: handshake.CodeSecurity, Reason: "host and plugin have no security in common", Host: strings.Join(o.Security, ", "), Plugin: strings.Join(able, ", ")}
	switch {
	case slices.Contains(o.Security, handshake.SecurityTLS):
		e.Hint = "the host uses its own TLS configuration: give the plugin one with plugin.WithTLSConfig"
	case slices.Contains(able, handshake.SecurityTLS):
		e.Hint = "the plugin uses its own TLS configuration: give the host one with host.WithTLSConfig"
	}
	return "", e
}

func differentProtocols(host, plugin string) *handshake.Error {
	return &handshake.Error{
		Code: handshake.CodeProtocol, Reason: "host and plugin speak different protocols", Host: host, Plugin: plugin,
		Hint: "this host needs another plugin: check which one it was told to start",
	}
}

// differentVersions returns the error for two sides without a common version. It says
// that the side with the lower highest version is the one to update.
func differentVersions(none string, host, plugin []int) *handshake.Error {
	e := &handshake.Error{Code: handshake.CodeVersion, Reason: "host and plugin have " + none + " in common", Host: describeVersions(host), Plugin: describeVersions(plugin)}
	switch {
	case len(host) == 0 || len(plugin) == 0:
	case slices.Max(plugin) < slices.Max(host):
		e.Hint = "the plugin is the older one: update it"
	default:
		e.Hint = "the host is the older one: update it"
	}
	return e
}

// Check checks the answer against the offer, and returns what both sides have agreed on.
// The answer stays as it is. An error is a [*handshake.Error].
//
// The result differs from the answer of a foreign plugin, which names no security and no
// session. With a TLS configuration of the host the security is [handshake.SecurityTLS].
// In go-plugin's multiplexed mode the session is [handshake.SessionYamux].
func (a *Answer) Check(o *Offer) (agreed *Answer, err error) {
	if a.Refusal != nil {
		return nil, a.refused(o)
	}
	if a.Protocol != "" && o.Protocol != "" && a.Protocol != o.Protocol {
		return nil, differentProtocols(o.Protocol, a.Protocol)
	}
	if !slices.Contains(o.Versions, a.Version) {
		return nil, differentVersions("no protocol version", o.Versions, []int{a.Version})
	}
	if !slices.Contains(o.Transports, a.Transport) {
		return nil, &handshake.Error{
			Code: handshake.CodeTransport, Reason: fmt.Sprintf("the plugin answered with transport %s, which was not offered", a.Transport),
			Host: strings.Join(transportStrings(o.Transports), ", "), Hint: "give the host that transport with host.WithTransports, or the plugin one of the host's",
		}
	}
	copied := *a
	if a.Plugwire {
		if err := a.checkOwn(o); err != nil {
			return nil, err
		}
		return &copied, nil
	}
	agreed = &copied
	if agreed.Security, err = a.foreignSecurity(o); err != nil {
		return nil, err
	}
	if agreed.Session, err = a.foreignSession(o); err != nil {
		return nil, err
	}
	return agreed, nil
}

// checkOwn checks what only a Plugwire plugin answers.
func (a *Answer) checkOwn(o *Offer) error {
	notOffered := func(code handshake.Code, what, answered string, offered []string) error {
		return &handshake.Error{Code: code, Reason: fmt.Sprintf("the plugin answered with %s %.64q, which was not offered", what, answered), Host: strings.Join(offered, ", ")}
	}
	switch {
	case !slices.Contains(o.Sessions, a.Session):
		return notOffered(handshake.CodeSession, "session", a.Session, o.Sessions)
	case !slices.Contains(o.Wires, a.Wire):
		return notOffered(handshake.CodeWire, "wire", a.Wire, o.Wires)
	case !slices.Contains(offeredSecurity(o.Security), a.Security):
		return notOffered(handshake.CodeSecurity, "security", a.Security, o.Security)
	case a.Security == handshake.SecurityMTLS && a.Cert == nil:
		return &handshake.Error{Code: handshake.CodeSecurity, Reason: "the plugin answered with mutual TLS but sent no certificate"}
	default:
		return nil
	}
}

// foreignSession returns the session with a foreign plugin. The seventh field of its
// answer has a meaning only if the host asked for go-plugin's multiplexed mode.
func (a *Answer) foreignSession(o *Offer) (string, error) {
	switch {
	case o.Multiplex == "":
		return a.Session, nil
	case a.Multiplex == "true":
		return handshake.SessionYamux, nil
	default:
		return "", &handshake.Error{
			Code: handshake.CodeSession, Reason: "the plugin does not have go-plugin's multiplexed mode, which the host asked for",
			Hint: "build the plugin with go-plugin v1.6.0 or newer, or launch it without host.WithMultiplex",
		}
	}
}

// foreignSecurity returns the security of a foreign plugin. The host accepts mutual TLS
// always, and peer credentials or no security only if it offered them. The host's own TLS
// configuration replaces all of them.
func (a *Answer) foreignSecurity(o *Offer) (string, error) {
	switch {
	case slices.Contains(o.Security, handshake.SecurityTLS):
		return handshake.SecurityTLS, nil
	case a.Cert != nil && o.ClientCert != "":
		return a.Security, nil
	case a.Cert != nil:
		return "", &handshake.Error{Code: handshake.CodeSecurity, Reason: "the plugin answered with a certificate, but the host sent none"}
	case slices.Contains(o.Security, a.Security):
		return a.Security, nil
	case a.Cert == nil && slices.Contains(o.Security, handshake.SecurityNone):
		return handshake.SecurityNone, nil // on unix too, where the kernel vouches for nothing
	}
	e := &handshake.Error{
		Code: handshake.CodeSecurity, Reason: fmt.Sprintf("the plugin answered on %s without a certificate, weaker than what was offered", a.Network),
		Host: strings.Join(o.Security, ", "),
		Hint: "the plugin must serve mutual TLS with the certificate in " + EnvClientCert,
	}
	if a.Security == handshake.SecurityNone {
		e.Hint += ", or the host must allow plaintext with host.WithPlaintext"
	}
	return "", e
}

// refused completes the plugin's refusal with what the host offered.
func (a *Answer) refused(o *Offer) error {
	e := *a.Refusal
	e.Reason = "the plugin refused: " + e.Reason
	switch e.Code {
	case handshake.CodeProtocol:
		e.Host = o.Protocol
	case handshake.CodeVersion:
		e.Host = describeVersions(o.Versions)
	case handshake.CodeTransport:
		e.Host = strings.Join(transportStrings(o.Transports), ", ")
	case handshake.CodeSession:
		e.Host = strings.Join(o.Sessions, ", ")
	case handshake.CodeWire:
		e.Host = strings.Join(o.Wires, ", ")
	case handshake.CodeSecurity:
		e.Host = strings.Join(o.Security, ", ")
	default:
	}
	return &e
}

func commonTransports(offered, have []transport.ID) []transport.ID {
	var common []transport.ID
	for _, name := range transportNames(offered) {
		best := transport.ID{Name: name}
		for _, id := range offered {
			if id.Name == name && id.Version > best.Version && slices.Contains(have, id) {
				best = id
			}
		}
		if best.Version > 0 {
			common = append(common, best)
		}
	}
	return common
}

// first returns the first of offered that is in have.
func first(offered, have []string) (string, bool) {
	for _, s := range offered {
		if slices.Contains(have, s) {
			return s, true
		}
	}
	return "", false
}

// describeSessions returns "direct, yamux (unix/1); native (quic/1)".
func describeSessions(ids []transport.ID, sessions map[string][]string) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = fmt.Sprintf("%s (%s)", strings.Join(sessions[id.Name], ", "), id)
	}
	return strings.Join(parts, "; ")
}

func describeVersions(versions []int) string {
	if len(versions) == 0 {
		return "no version"
	}
	sorted := slices.Sorted(slices.Values(versions))
	slices.Reverse(sorted)
	word := "version "
	if len(sorted) > 1 {
		word = "versions "
	}
	return word + strings.ReplaceAll(joinInts(sorted), ",", ", ")
}
