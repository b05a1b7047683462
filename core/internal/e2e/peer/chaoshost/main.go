//go:build linux

// Package chaoshost is the command chaos-host. It launches a plugin repeatedly, calls
// it from many callers, and stops it, until the host is killed:
//
//	chaos-host plugwire TRANSPORT PLUGIN [ARGUMENT]...
//	chaos-host go-plugin PLUGIN [ARGUMENT]...    is a host on hashicorp/go-plugin
//
// It exits with 1 after any error other than the plugin's end.
package chaoshost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/chaos"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

const (
	callers = 64

	// longest is how long a plugin lives at most. The host is killed about as
	// often while it starts or stops one.
	longest = 80 * time.Millisecond

	// patience is longer than any step takes that is not stuck.
	patience = time.Minute
)

// Main is the command.
func Main() {
	fmt.Fprintln(os.Stderr, run(os.Args[1:]))
	os.Exit(1)
}

// run returns only after an error.
func run(args []string) error {
	for {
		var err error
		switch {
		case len(args) >= 3 && args[0] == "plugwire":
			err = cycle(args[1], args[2:])
		case len(args) >= 2 && args[0] == "go-plugin":
			err = goPluginCycle(args[1:])
		default:
			err = fmt.Errorf("unknown arguments %q", args)
		}
		if err != nil {
			return err
		}
	}
}

// cycle is the life of one plugin under this framework.
func cycle(transport string, command []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	own := len(command) == 1
	var p *host.Plugin
	launched := make(chan struct{})
	opts := []host.Option{
		host.WithProtocols(chaos.Protocol),
		host.WithTransports(ways.Named(transport)),
		host.WithLogger(slog.New(slog.DiscardHandler)),
	}
	if own {
		opts = append(opts, host.WithServices(duplexpb.ServeDuplex(&duplex.Handler{Other: func(context.Context) grpc.ClientConnInterface {
			<-launched
			return p
		}})))
	}
	p, err := host.Launch(ctx, exec.Command(command[0], command[1:]...), opts...)
	close(launched)
	if err != nil {
		return err
	}
	return work(p, own, func() error { return p.Close() })
}

// goPluginCycle is the life of one plugin under go-plugin.
func goPluginCycle(command []string) error {
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  chaos.GoPluginHandshake,
		Plugins:          goplugin.PluginSet{chaos.GoPluginName: goPlugin{}},
		Cmd:              exec.Command(command[0], command[1:]...),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         rand.IntN(2) == 0,
		StartTimeout:     patience,
		Logger:           hclog.NewNullLogger(),
	})
	defer client.Kill()
	protocol, err := client.Client()
	if err != nil {
		return err
	}
	conn, err := protocol.Dispense(chaos.GoPluginName)
	if err != nil {
		return err
	}
	return work(conn.(*grpc.ClientConn), false, func() error {
		client.Kill()
		return nil
	})
}

// goPlugin gives out the connection.
type goPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

var _ goplugin.GRPCPlugin = goPlugin{}

func (goPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (goPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// work calls a plugin for a while and stops it.
func work(conn grpc.ClientConnInterface, callbacks bool, stop func() error) error {
	if _, err := echopb.NewEchoClient(conn).Fail(context.Background(), &echopb.FailRequest{How: "child"}); err != nil {
		return err
	}
	load, err := chaos.Start(conn, chaos.Config{Dir: os.Getenv(chaos.EnvDir), Callers: callers, Callbacks: callbacks, Dead: gone})
	if err != nil {
		return err
	}
	<-time.After(rand.N(longest)) // the moment is random
	load.Orderly()
	err = stop()
	_, broken := load.Wait(patience)
	for _, line := range slices.Compact(broken) {
		err = errors.Join(err, errors.New(line))
	}
	return err
}

// gone reports whether an error is that of a call that a stop has cut off. The
// soak of dying plugins checks the reasons.
func gone(err error) bool {
	code := status.Code(err)
	return chaos.ExitError(err) || code == codes.Unavailable || code == codes.Canceled
}
