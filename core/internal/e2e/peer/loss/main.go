//go:build linux

// Package loss is the command loss. It measures unary calls over a network that loses
// packets, alternating between two transports, and compares their slowest calls. It is
// the host, and starts itself as the plugin in another network namespace. The test of
// the same name makes the network.
package loss

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
)

// rolePlugin is the first argument when loss starts itself as the plugin. The
// name of a transport and the listen address follow.
const rolePlugin = "plugin"

// transports has the two transports: the second is compared with the first.
// Both sides open each, but only the plugin listens.
var transports = [2]struct {
	name string
	open func(listen string) transport.Transport
}{
	{"tcp", func(listen string) transport.Transport { return cubic{tcp.New(tcp.WithListenAddress(listen))} }},
	{"quic", func(listen string) transport.Transport { return quic.New(quic.WithListenAddress(listen)) }},
}

// Main is the command.
func Main() {
	if len(os.Args) == 4 && os.Args[1] == rolePlugin {
		for _, t := range transports {
			if t.name == os.Args[2] {
				plugin.Main(echopb.ServeEcho(echo.Handler{}), plugin.WithTransports(t.open(os.Args[3])))
				return
			}
		}
	}
	var cfg config
	flag.StringVar(&cfg.namespace, "netns", "", "the plugin's network namespace, a `path`")
	flag.StringVar(&cfg.listen, "listen", "", "the `address` at which the plugin listens there")
	flag.IntVar(&cfg.rounds, "rounds", 5, "how often each measurement is repeated, alternating between the transports")
	flag.DurationVar(&cfg.length, "length", 20*time.Second, "how long one run lasts")
	check := flag.Bool("check", false, "exit with code 1 if an aim is missed")
	flag.Usage = func() {
		_, _ = io.WriteString(flag.CommandLine.Output(), "usage: loss -netns PATH -listen ADDRESS [-rounds N] [-length D] [-check]\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || cfg.namespace == "" || cfg.listen == "" || cfg.rounds < 1 || cfg.length <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := compare(ctx, cfg, *check)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loss:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, cfg config, check bool) error {
	var missed bool
	for _, w := range works {
		results, err := w.measure(ctx, cfg)
		if err != nil {
			return err
		}
		text, met := w.report(results)
		fmt.Print(text)
		missed = missed || !met
	}
	if check && missed {
		return errors.New("an aim is missed")
	}
	return nil
}
