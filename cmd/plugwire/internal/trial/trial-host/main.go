// Command trial-host is a host that shows its plugins (host.WithStatus), for the tests of
// plugwire. It starts a plugin under each name, and runs until a signal ends it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/trial"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	names := flag.String("plugins", "trial", "names of the plugins, with commas")
	calls := flag.Int("calls", 0, "how many calls each plugin gets")
	load := flag.Duration("load", 0, "call all plugins, with this pause between two calls; 0 is no calls")
	die := flag.Bool("die", false, "let the first plugin die once")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: trial-host [flags] PLUGIN [ARGUMENT...]")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, strings.Split(*names, ","), *calls, *load, *die); err != nil {
		fmt.Fprintln(os.Stderr, "trial-host:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string, calls int, load time.Duration, die bool) (err error) {
	logger := slog.New(slog.DiscardHandler)
	group, err := supervise.NewGroup(supervise.WithLogger(logger), supervise.WithPolicy(supervise.Policy{Delay: time.Millisecond, MaxDelay: time.Millisecond}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	var specs []supervise.Spec
	for _, name := range names {
		specs = append(specs, supervise.Spec{Name: name, Launch: func(ctx context.Context) (*host.Plugin, error) {
			return host.Launch(ctx, exec.Command(flag.Arg(0), flag.Args()[1:]...),
				host.WithProtocols(trial.TrialProtocol), host.WithTransports(unix.New()), host.WithName(name), host.WithLogger(logger), host.WithStatus())
		}})
	}
	if err := group.Apply(ctx, specs...); err != nil {
		return err
	}
	var calling sync.WaitGroup
	defer calling.Wait()
	for i, name := range names {
		h, err := group.Member(name)
		if err != nil {
			return err
		}
		client := trial.NewTrialClient(h)
		for range calls {
			if _, err := client.Echo(ctx, &trial.Text{Text: name}); err != nil {
				return err
			}
		}
		if die && i == 0 {
			_, _ = client.Die(ctx, &trial.Number{Number: 3}) // an error is what the call is for
			if _, err := h.Plugin(ctx); err != nil {
				return err
			}
		}
		if load > 0 {
			calling.Go(func() {
				tick := time.NewTicker(load)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						_, _ = client.Echo(ctx, &trial.Text{Text: name}) // the status counts errors
					case <-ctx.Done():
						return
					}
				}
			})
		}
	}
	fmt.Println("ready", os.Getpid())
	<-ctx.Done()
	return nil
}
