package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// Host implements [peer.Framework].
func (framework) Host(cfg peer.Config) peer.Host { return launcher(cfg) }

type launcher peer.Config

// Start implements [peer.Host].
func (l launcher) Start(ctx context.Context, args ...string) (peer.Plugin, error) {
	p := new(runningPlugin)
	opts := append(l.options(p), host.WithTrace(&host.Trace{Dial: func(e host.DialEvent) { p.address = e.Address }}))
	command := slices.Concat(l.Command, args)
	if l.MutualTLS {
		opts = append(opts, host.WithMutualTLS())
	} else {
		opts = append(opts, host.WithoutCertificate())
	}
	if l.Multiplex {
		opts = append(opts, host.WithMultiplex())
	}
	cmd := exec.Command(command[0], command[1:]...)
	var err error
	if p.Plugin, err = host.Launch(ctx, cmd, opts...); err != nil {
		return nil, err
	}
	if security := p.Info().Security; l.MutualTLS != (security == handshake.SecurityMTLS) {
		return nil, errors.Join(fmt.Errorf("the security is %s", security), p.Plugin.Close())
	}
	return p, nil
}

func (l launcher) options(p *runningPlugin) []host.Option {
	return []host.Option{
		host.WithProtocols(protocols(l.Versions)...),
		host.WithTransports(unix.New(), tcp.New()),
		host.WithLogger(slog.New(slog.NewJSONHandler(&p.log, nil))),
		host.WithStdout(&p.stdout),
		host.WithStderr(&p.stderr),
	}
}

// Attach implements [peer.Host]. It uses go-plugin's ReattachConfig of the plugin.
func (l launcher) Attach(ctx context.Context, first peer.Plugin) (peer.Plugin, error) {
	if l.MutualTLS || l.Multiplex {
		return nil, fmt.Errorf("with AutoMTLS only the first host has the key, and multiplexing is one connection, the first host's: %w", peer.ErrUnsupported)
	}
	text := fmt.Sprintf(`{"Protocol":"grpc","ProtocolVersion":%d,"Pid":%d,"Addr":{"Network":"unix","String":%q}}`, first.Version(), first.PID(), first.(*runningPlugin).address)
	info, err := handshake.ParseAttachInfo(text)
	if err != nil {
		return nil, err
	}
	p := new(runningPlugin)
	if p.Plugin, err = host.Attach(ctx, info, l.options(p)...); err != nil {
		return nil, err
	}
	first.(*runningPlugin).handedOver = true
	return p, nil
}

// runningPlugin is a [peer.Plugin].
type runningPlugin struct {
	*host.Plugin
	address        string
	handedOver     bool // another host may end the plugin
	log            peer.Buffer
	stdout, stderr peer.Buffer
}

var _ peer.Plugin = (*runningPlugin)(nil)

// Version implements [peer.Plugin].
func (p *runningPlugin) Version() int { return p.Info().Version }

// PID implements [peer.Plugin].
func (p *runningPlugin) PID() int { return p.Info().PID }

// Stdout implements [peer.Plugin].
func (p *runningPlugin) Stdout() string { return p.stdout.String() }

// Stderr implements [peer.Plugin].
func (p *runningPlugin) Stderr() string { return p.stderr.String() }

// Records implements [peer.Plugin].
func (p *runningPlugin) Records() []peer.Record { return p.log.Records(slog.LevelKey, slog.MessageKey) }

// Close implements [peer.Plugin].
func (p *runningPlugin) Close(ctx context.Context) error {
	err := p.Shutdown(ctx)
	if exit, ok := errors.AsType[*host.ExitError](err); ok && p.handedOver && exit.Status == (host.ExitStatus{}) {
		return nil // the plugin ended normally, though not when this host asked
	}
	return err
}
