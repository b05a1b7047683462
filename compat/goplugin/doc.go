// Package plugin has the API of hashicorp/go-plugin for plugins that speak gRPC, on
// Plugwire's engine. A program gets it without a changed line:
//
//	go mod edit -replace github.com/hashicorp/go-plugin=github.com/plugwire/plugwire/compat/goplugin@v0.1.0
//
// [NewClient] is the host's side, and [Serve] the plugin's. Both work with processes that are
// built on any release of go-plugin. The README of the module says what is different on
// purpose, and how to switch that off. Plugins that speak net/rpc are refused.
package plugin
