package plugin

import (
	"context"
	"io"
)

// The types of package runner, by their contents: see there.
type (
	addrTranslator = interface {
		PluginToHost(pluginNet, pluginAddr string) (hostNet, hostAddr string, err error)
		HostToPlugin(hostNet, hostAddr string) (pluginNet, pluginAddr string, err error)
	}
	attachedRunner = interface {
		Wait(ctx context.Context) error
		Kill(ctx context.Context) error
		ID() string
		addrTranslator
	}
	pluginRunner = interface {
		Start(ctx context.Context) error
		Diagnose(ctx context.Context) string
		Stdout() io.ReadCloser
		Stderr() io.ReadCloser
		Name() string
		attachedRunner
	}
	reattachFunc = func() (attachedRunner, error)
)
