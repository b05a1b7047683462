// Package goplugin is what Plugwire does only because hashicorp/go-plugin exists. It lets
// a Plugwire host run plugins built with go-plugin, and a go-plugin host run Plugwire's.
//
// The rest of the code reaches it by one file on either side, goplugin.go in packages host
// and plugin, and by one type on either side:
//
//   - [HostSide] is what a host has for one plugin. It fetches what a plugin on go-plugin
//     prints, asks it to stop, and brokers connections.
//   - [PluginSide] is what a plugin has for its host. It sends a go-plugin host what the
//     plugin prints, obeys that host's Controller, and brokers connections.
//
// The parts are packages of their own:
//
//   - messages: how go-plugin's services look on the wire
//   - stdio: what the plugin prints, on both sides of GRPCStdio
//   - multiplex: the multiplexed mode, in which one connection carries all streams
//   - broker: connections beside the one for calls, on both sides of GRPCBroker
//
// The handshake itself is common to both frameworks, and so it is in package handshake.
// Facts about go-plugin that the code relies on name the file there that they come from,
// of release 1.8.0.
package goplugin
