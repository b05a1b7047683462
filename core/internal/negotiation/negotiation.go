// Package negotiation is how two sides agree: the host's offer, which travels in
// environment variables; the plugin's answer, which is one line on its standard
// output; and the rules by which the plugin chooses and the host checks.
//
// Everything here is a pure function over strings: no function touches the
// environment, a file or a connection. So the package can be fuzzed, and
// implementations in other languages can be checked against the vectors in
// handshake/testdata. docs/protocol.md is the normative text. What users need of it,
// such as the type of its errors, is in package handshake.
package negotiation

import (
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
)

// The environment variables of the offer. PLUGWIRE_OFFER is Plugwire's own, and
// PLUGIN_TRANSPORTS is rpcplugin's. The others are go-plugin's (constants.go, client.go
// and server.go there).
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

// IsVariable reports whether name is a variable of the handshake. A host sets or clears
// these variables itself, and never passes them on from its own environment. Otherwise
// a host that is a plugin would give its own host's offer to its plugins.
func IsVariable(name string) bool {
	switch name {
	case EnvVersions, EnvMinPort, EnvMaxPort, EnvClientCert, EnvMultiplex, EnvSocketDir, EnvSocketGroup, EnvTransports, handshake.DefaultCookieName:
		return true
	}
	return strings.HasPrefix(name, envPrefix)
}

// A Cookie is the variable by which a plugin recognizes that a host started it. It is
// a hint for people who run a plugin by hand, not security.
type Cookie struct {
	Name, Value string
}

// DefaultCookie returns the cookie of hosts and plugins that were given none.
func DefaultCookie() Cookie {
	return Cookie{handshake.DefaultCookieName, handshake.DefaultCookieValue}
}

// CoreVersion is the first field of every answer: the version of the answer line
// itself. There has only ever been this one.
const CoreVersion = 1

// maxText bounds each text of an answer that is for people. A [handshake.Error] shows
// as much. It is enough for the longest path that a system allows with an explanation
// around it. All texts of an answer, percent-encoded, still fit into the line.
const maxText = 4 << 10

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}

// oneLine returns the text of a peer as one line of bounded length without control
// characters.
func oneLine(s string) string { return (&handshake.Error{Reason: s}).Error() }
