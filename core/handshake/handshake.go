// Package handshake is how two sides agree: the host's offer, which travels in
// environment variables, the plugin's answer, which is one line on its
// standard output, and the rules by which the plugin chooses and the host
// checks.
//
// Everything here is a pure function over strings: no environment, file or
// connection is touched, so that the package can be fuzzed and so that
// implementations in other languages can be checked against the vectors in
// testdata. docs/protocol.md is the normative text. Hosts and plugins use
// packages host and plugin; this one is public for its [Error] and for tools
// that inspect a handshake.
package handshake

import (
	"strings"
	"unicode"
)

// The environment variables of the handshake. All but the last two are
// go-plugin's (constants.go, client.go and server.go there); PLUGIN_TRANSPORTS
// is rpcplugin's.
const (
	EnvVersions    = "PLUGIN_PROTOCOL_VERSIONS"
	EnvMinPort     = "PLUGIN_MIN_PORT"
	EnvMaxPort     = "PLUGIN_MAX_PORT"
	EnvClientCert  = "PLUGIN_CLIENT_CERT"
	EnvMultiplex   = "PLUGIN_MULTIPLEX_GRPC"
	EnvSocketDir   = "PLUGIN_UNIX_SOCKET_DIR"
	EnvSocketGroup = "PLUGIN_UNIX_SOCKET_GROUP"
	EnvTransports  = "PLUGIN_TRANSPORTS"
	EnvOffer       = "PLUGWIRE_OFFER"
)

// envPrefix marks the variables that belong to this project.
const envPrefix = "PLUGWIRE_"

// IsVariable reports whether name is a variable of the handshake: one that a
// host sets itself or clears, and never passes on from its own environment. A
// host that is a plugin would otherwise hand its own host's offer to its
// plugins.
func IsVariable(name string) bool {
	switch name {
	case EnvVersions, EnvMinPort, EnvMaxPort, EnvClientCert, EnvMultiplex, EnvSocketDir, EnvSocketGroup, EnvTransports, DefaultCookieName:
		return true
	}
	return strings.HasPrefix(name, envPrefix)
}

// A Cookie is the variable by which a plugin recognizes that a host started
// it. It is a hint for people who run a plugin by hand, not security.
type Cookie struct {
	Name, Value string
}

// The default cookie's name and value.
const (
	DefaultCookieName  = "PLUGIN_MAGIC_COOKIE"
	DefaultCookieValue = "plugwire"
)

// DefaultCookie is the cookie of hosts and plugins that were given none.
func DefaultCookie() Cookie { return Cookie{DefaultCookieName, DefaultCookieValue} }

// CoreVersion is the first field of every answer: the version of the answer
// line itself. There has only ever been this one.
const CoreVersion = 1

// Ways of having several streams, in the offer's key "sessions".
const (
	SessionDirect = "direct" // a connection for each stream
	SessionYamux  = "yamux"  // one connection, multiplexed by yamux
	SessionNative = "native" // one connection with streams of its own, as QUIC has
)

// WireH2 is gRPC over HTTP/2, in the offer's key "wires".
const WireH2 = "h2"

// Ways of knowing who is at the other end, in the offer's key "security".
const (
	SecurityPeerCred = "peercred" // the kernel vouches for the peer's user
	SecurityMTLS     = "mtls"     // one-time certificates, pinned both ways
	SecurityTLS      = "tls"      // each side brings its own TLS configuration
	SecurityNone     = "none"     // never offered; what a foreign peer may be down to
)

// Code classifies an [Error].
type Code string

// The codes. They are part of the wire: an answer carries error=code:text.
const (
	CodeCookie    Code = "cookie"    // not started by a host, or by one with another cookie
	CodeOffer     Code = "offer"     // the offer is malformed or demands something unknown
	CodeAnswer    Code = "answer"    // the answer is malformed
	CodeCore      Code = "core"      // the answer line has another version
	CodeProtocol  Code = "protocol"  // the protocols have different names
	CodeVersion   Code = "version"   // no common protocol version
	CodeTransport Code = "transport" // no common transport, or none that could be opened
	CodeSession   Code = "session"   // no common session kind
	CodeWire      Code = "wire"      // no common wire
	CodeSecurity  Code = "security"  // no common security, or weaker than offered
	CodeInternal  Code = "internal"  // the plugin could not serve for a reason of its own
)

// Error is why two sides did not agree.
type Error struct {
	Code Code
	// Reason is what happened, in words that say on which side.
	Reason string
	// Host and Plugin are what each side offered of the thing that failed; the
	// side that reports the error may not know the other's.
	Host, Plugin string
	// Hint is what to do about it; may be empty.
	Hint string
}

// Error returns the reason, both offers and the hint. Parts of them may be the
// other side's words, so what comes out is one line of bounded length without
// control characters.
func (e *Error) Error() string {
	text := oneLine(e.Reason)
	host, plugin := oneLine(e.Host), oneLine(e.Plugin)
	switch {
	case host != "" && plugin != "":
		text += " (host: " + host + "; plugin: " + plugin + ")"
	case host != "":
		text += " (host: " + host + ")"
	case plugin != "":
		text += " (plugin: " + plugin + ")"
	}
	if e.Hint != "" {
		text += ": " + oneLine(e.Hint)
	}
	return text
}

// maxShown bounds each part of an error's text: enough for the longest path
// that a system allows, with an explanation around it, and little enough for
// all parts, percent-encoded, to fit into an answer.
const maxShown = 4 << 10

func clip(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "..."
	}
	return s
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, clip(s))
}
