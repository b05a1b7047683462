package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// side is one of the compared ways. The measurements of its comparison need
// only some of its functions; the others are nil.
type side struct {
	name, note string
	echo       echopb.EchoClient
	duplex     duplexpb.DuplexClient // client of a plugin that calls back
	start      func(context.Context) (time.Duration, error)
}

func echoClient(p *host.Plugin) echopb.EchoClient { return echopb.NewEchoClient(p) }

// describe returns what was negotiated.
func describe(p *host.Plugin) string {
	info := p.Info()
	return fmt.Sprintf("%s, %s session, %s", info.Transport, info.Session, info.Security)
}

func (p *place) launchEcho(ctx context.Context, env []string, opts ...host.Option) (*host.Plugin, error) {
	plugin, err := launch(ctx, p.self, roleEcho, env, append(opts, host.WithProtocols(echopb.EchoProtocol))...)
	if err != nil {
		return nil, err
	}
	p.onClose(plugin.Close)
	return plugin, nil
}

func (p *place) launchDuplex(ctx context.Context, opts ...host.Option) (duplexpb.DuplexClient, error) {
	// Descents end at the host, so its handler calls no other side.
	services := host.WithServices(duplexpb.ServeDuplex(&duplex.Handler{}))
	plugin, err := launch(ctx, p.self, roleDuplex, nil, append(opts, services, host.WithProtocols(duplexpb.DuplexProtocol))...)
	if err != nil {
		return nil, err
	}
	p.onClose(plugin.Close)
	return duplexpb.NewDuplexClient(plugin), nil
}

func launch(ctx context.Context, self, role string, env []string, opts ...host.Option) (*host.Plugin, error) {
	cmd := exec.Command(self, role)
	cmd.Env = append(os.Environ(), env...)
	return host.Launch(ctx, cmd, opts...)
}

// starter returns a function that measures the time from starting a plugin to
// its first answer.
func starter(self string, opts ...host.Option) func(context.Context) (time.Duration, error) {
	opts = append(opts,
		host.WithProtocols(echopb.EchoProtocol),
		// The log of a plugin that stays has the warnings, such as about small
		// buffers. Once is enough.
		host.WithLogger(slog.New(slog.DiscardHandler)))
	return func(ctx context.Context) (time.Duration, error) {
		begin := time.Now()
		p, err := launch(ctx, self, roleEcho, nil, opts...)
		if err != nil {
			return 0, err
		}
		_, err = echoClient(p).Unary(ctx, &echopb.Payload{})
		took := time.Since(begin)
		return took, errors.Join(err, p.Close())
	}
}

// startPlain is like a starter, without Plugwire.
func startPlain(ctx context.Context, self, socket string) (time.Duration, error) {
	begin := time.Now()
	cmd := exec.CommandContext(ctx, self, rolePlain, socket)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		err = callPlain(ctx, socket)
	}
	took := time.Since(begin)
	err = errors.Join(err, cmd.Process.Kill())
	_ = cmd.Wait() // the error is that of the kill
	return took, err
}

func callPlain(ctx context.Context, socket string) error {
	cc, err := dial(socket)
	if err != nil {
		return err
	}
	_, err = echopb.NewEchoClient(cc).Unary(ctx, &echopb.Payload{})
	return errors.Join(err, cc.Close())
}

func (p *place) dialPlain(socket string) (echopb.EchoClient, error) {
	cc, err := dial(socket)
	if err != nil {
		return nil, err
	}
	p.onClose(cc.Close)
	return echopb.NewEchoClient(cc), nil
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}
