// Package handshake has what a user meets of the handshake, by which a host and a
// plugin agree. [Error] says why they did not, and [AttachInfo] is how a host
// reaches a plugin that runs already. The constants are the values in host.Info.
//
// Packages host and plugin do the handshake. docs/protocol.md is its normative text,
// for an implementation in another language.
package handshake

// The name and the value of the default cookie: the environment variable by which a
// plugin recognizes its host. It is a hint for people who run a plugin by hand, not
// security. A host on go-plugin needs both for a plugin on Plugwire.
const (
	DefaultCookieName  = "PLUGIN_MAGIC_COOKIE"
	DefaultCookieValue = "plugwire"
)

// Kinds of session: how two sides make several streams.
const (
	SessionDirect = "direct" // a connection for each stream
	SessionYamux  = "yamux"  // one connection, multiplexed by yamux
	SessionNative = "native" // one connection that has streams itself, as QUIC does
)

// WireH2 is gRPC over HTTP/2.
const WireH2 = "h2"

// Kinds of security: how each side knows the other.
const (
	SecurityPeerCred = "peercred" // the kernel tells the other process's user
	SecurityMTLS     = "mtls"     // mutual TLS with one-time certificates, pinned both ways
	SecurityTLS      = "tls"      // each side has a TLS configuration of its own
	SecurityNone     = "none"     // a plugin of another framework without TLS; never offered
)
