//go:build linux

package chaos

import (
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/core/handshake"
)

// Both sides of go-plugin need these values.
var (
	GoPluginHandshake = goplugin.HandshakeConfig{
		ProtocolVersion: 1, MagicCookieKey: handshake.DefaultCookieName, MagicCookieValue: handshake.DefaultCookieValue,
	}
	GoPluginName = "chaos"
)
