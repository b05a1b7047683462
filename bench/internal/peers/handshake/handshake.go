// Package handshake is what both sides of the peers on go-plugin agree on.
package handshake

import "github.com/hashicorp/go-plugin"

// Name is the name of the plugin in the set of each side.
const Name = "echo"

// Config is the handshake.
var Config = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "BENCH_PLUGIN", MagicCookieValue: Name}
