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
	p := new(running)
	opts := []host.Option{
		host.WithProtocols(protocols(l.Versions)...),
		host.WithTransports(unix.New(), tcp.New()),
		host.WithLogger(slog.New(slog.NewJSONHandler(&p.log, nil))),
		host.WithStdout(&p.stdout),
		host.WithStderr(&p.stderr),
	}
	if l.MutualTLS {
		opts = append(opts, host.WithMutualTLS())
	}
	if l.Multiplex {
		opts = append(opts, multiplex()...)
	}
	cmd := exec.Command(l.Command[0], slices.Concat(l.Command[1:], args)...)
	var err error
	if p.Plugin, err = host.Launch(ctx, cmd, opts...); err != nil {
		return nil, err
	}
	if security := p.Info().Security; l.MutualTLS && security != handshake.SecurityMTLS {
		return nil, errors.Join(fmt.Errorf("the security is %s", security), p.Plugin.Close())
	}
	return p, nil
}

// Attach implements [peer.Host].
func (launcher) Attach(context.Context, peer.Plugin) (peer.Plugin, error) {
	return nil, fmt.Errorf("what Plugwire's host has launched cannot be attached to: %w", peer.ErrUnsupported)
}

// running is a [peer.Plugin].
type running struct {
	*host.Plugin
	log            peer.Buffer
	stdout, stderr peer.Buffer
}

var _ peer.Plugin = (*running)(nil)

// Version implements [peer.Plugin].
func (p *running) Version() int { return p.Info().Version }

// PID implements [peer.Plugin].
func (p *running) PID() int { return p.Info().PID }

// Stdout implements [peer.Plugin].
func (p *running) Stdout() string { return p.stdout.String() }

// Stderr implements [peer.Plugin].
func (p *running) Stderr() string { return p.stderr.String() }

// Records implements [peer.Plugin].
func (p *running) Records() []peer.Record { return p.log.Records(slog.LevelKey, slog.MessageKey) }

// Close implements [peer.Plugin].
func (p *running) Close(ctx context.Context) error { return p.Shutdown(ctx) }
