// Package runner has the interfaces by which a host starts plugins somewhere else than as
// processes of its machine: in containers, for example. A host gives a [Runner] to
// plugin.ClientConfig.RunnerFunc, or a [ReattachFunc] to plugin.ReattachConfig.
//
// The types are aliases of interfaces without a name, because package plugin cannot import
// this package: their import paths differ between a program that requires the module and one
// that replaces another module with it.
package runner

import (
	"context"
	"io"
)

// Runner starts one plugin. Package plugin calls Start once, and then reads Stdout and Stderr
// to their ends.
type Runner = interface {
	// Start starts the plugin. The context bounds the start only.
	Start(ctx context.Context) error
	// Diagnose returns what may help a person to understand why the plugin did not start.
	Diagnose(ctx context.Context) string
	// Stdout has the answer of the handshake.
	Stdout() io.ReadCloser
	// Stderr has the plugin's log.
	Stderr() io.ReadCloser
	// Name names the plugin for people. It need not be unique.
	Name() string

	AttachedRunner
}

// AttachedRunner is what there is of a plugin that runs already.
type AttachedRunner = interface {
	// Wait waits until the plugin has ended.
	Wait(ctx context.Context) error
	// Kill ends the plugin and releases what belongs to it.
	Kill(ctx context.Context) error
	// ID tells the running plugin from others: the number of its process, for example.
	ID() string

	AddrTranslator
}

// AddrTranslator translates addresses between the host and the plugin, which may see other
// file systems or networks.
type AddrTranslator = interface {
	// PluginToHost returns how the host reaches an address of the plugin.
	PluginToHost(pluginNet, pluginAddr string) (hostNet, hostAddr string, err error)
	// HostToPlugin returns how the plugin reaches an address of the host.
	HostToPlugin(hostNet, hostAddr string) (pluginNet, pluginAddr string, err error)
}

// ReattachFunc finds a plugin that runs already.
type ReattachFunc = func() (AttachedRunner, error)
