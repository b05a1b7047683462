package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

// show keeps the plugin under load, goes through the steps, and reports each on out.
func show(ctx context.Context, duration time.Duration, callers int, logger *slog.Logger, out io.Writer) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	version := func(v string) supervise.LaunchFunc {
		return func(ctx context.Context) (*host.Plugin, error) {
			cmd := exec.Command(filepath.Join(filepath.Dir(self), "supervised-plugin"), "-version", v)
			return host.Launch(ctx, cmd, host.WithProtocols(hello.GreeterProtocol),
				host.WithTransports(unix.New()), host.WithLogger(logger))
		}
	}
	h, err := supervise.Start(ctx, version("1"), supervise.WithLogger(logger))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()

	client := hello.NewGreeterClient(h)
	var load load
	load.reset()
	calling, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for range callers {
		wg.Go(func() { load.call(calling, client) })
	}

	steps := []struct {
		name    string
		do      func(context.Context) error
		version string // of the plugin that takes calls when do has returned
	}{
		{"undisturbed", func(context.Context) error { return nil }, "1"},
		{"killed", func(ctx context.Context) error { return kill(ctx, h) }, "1"},
		{"swapped to version 2", func(ctx context.Context) error { return h.Swap(ctx, version("2")) }, "2"},
		{"swapped back", func(ctx context.Context) error { return h.Swap(ctx, version("1")) }, "1"},
	}
	r := newReporter(out)
	for _, s := range steps {
		load.reset()
		do := func(ctx context.Context) error {
			if err := s.do(ctx); err != nil {
				return err
			}
			err := check(ctx, client, s.version)
			load.count(err)
			return err
		}
		update := func() { r.update(s.name, load.counts()) }
		if err := step(ctx, do, duration/time.Duration(len(steps)), update); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.finish(s.name, load.counts())
	}
	return load.failure()
}

// check calls the plugin, and returns an error if another version answers.
func check(ctx context.Context, client hello.GreeterClient, version string) error {
	response, err := client.Greet(ctx, &hello.GreetRequest{Name: "host"}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	if got, want := response.GetGreeting(), "from version "+version+"!"; !strings.HasSuffix(got, want) {
		return fmt.Errorf("the plugin answers %q, want %q at the end", got, want)
	}
	return nil
}

// step runs do, and returns when do has returned and d is over. Meanwhile it calls
// update again and again.
func step(ctx context.Context, do func(context.Context) error, d time.Duration, update func()) error {
	done := make(chan error, 1)
	over := time.After(d)
	go func() { done <- do(ctx) }()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for done != nil || over != nil {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			done = nil
		case <-over:
			over = nil
		case <-ticker.C:
			update()
		case <-ctx.Done():
			if done != nil {
				if err := <-done; err != nil && ctx.Err() == nil { // ctx ends do too
					return err
				}
			}
			return ctx.Err()
		}
	}
	return nil
}

// kill ends the plugin's process without a warning, and waits for the next plugin.
func kill(ctx context.Context, h *supervise.Handle) error {
	p, err := h.Plugin(ctx)
	if err != nil {
		return err
	}
	process, err := os.FindProcess(p.Info().PID)
	if err != nil {
		return err
	}
	if err := process.Kill(); err != nil {
		return err
	}
	for next := p; next == p; {
		// Right after the kill, h still returns p: it notices the end of p a moment later.
		select {
		case <-p.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
		if next, err = h.Plugin(ctx); err != nil {
			return err
		}
	}
	return nil
}
