//go:build linux

package chaos

import (
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/core/handshake"
)

// What go-plugin has to be told on both sides.
var (
	GoPluginHandshake = goplugin.HandshakeConfig{
		ProtocolVersion: 1, MagicCookieKey: handshake.DefaultCookieName, MagicCookieValue: handshake.DefaultCookieValue,
	}
	GoPluginName = "chaos"
)
