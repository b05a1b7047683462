// Package handshake is what both sides of the peers on go-plugin agree on. It imports neither
// go-plugin nor compat/goplugin: the programs of one must not start what the other links.
package handshake

// Name is the name of the plugin in the set of each side.
const Name = "echo"

// Config is the handshake. Its type can be assigned to plugin.HandshakeConfig of both.
var Config = struct {
	ProtocolVersion  uint
	MagicCookieKey   string
	MagicCookieValue string
}{ProtocolVersion: 1, MagicCookieKey: "BENCH_PLUGIN", MagicCookieValue: Name}
