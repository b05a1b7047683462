// Package plugintest runs a plugin inside a test's own process, through the real
// handshake and over a real transport. A test calls handlers exactly as a host does, and
// the race detector and the debugger see both sides.
//
//	p := plugintest.Start(t, example.ServeDataProcessor(&processor{}), unix.New())
//	resp, err := example.NewDataProcessorClient(p).ProcessData(ctx, req)
//
// The plugin has no process of its own. Its crash is a crash of the test, and it has no
// standard output or error to read logs from.
package plugintest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// Start serves binding over tr and returns the host's handle on the plugin. The plugin
// stops when the test ends. The test fails if the plugin cannot be started or does not
// stop in good order.
//
// The host speaks every version of the protocol that the binding has. If the binding has
// several protocols, the host speaks the first, unless host.WithProtocols names another.
// Both sides log to the test. Options change the host. Use [StartWith] to change the
// plugin too.
func Start(tb testing.TB, binding protocol.Binding, tr transport.Transport, opts ...host.Option) *host.Plugin {
	tb.Helper()
	return StartWith(tb, binding, tr, nil, opts...)
}

// StartWith works like [Start], and takes options for the plugin too.
func StartWith(tb testing.TB, binding protocol.Binding, tr transport.Transport, pluginOpts []plugin.Option, hostOpts ...host.Option) *host.Plugin {
	tb.Helper()
	families, err := binding.Families()
	if err != nil {
		tb.Fatalf("plugintest: %v", err)
	}
	logger := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := &runner{
		binding: binding,
		opts:    append([]plugin.Option{plugin.WithTransports(tr), plugin.WithLogger(logger.With("side", "plugin"))}, pluginOpts...),
	}
	p, err := host.Launch(tb.Context(), &exec.Cmd{Path: tb.Name()}, append([]host.Option{
		host.WithProtocols(families[0]...),
		host.WithTransports(tr),
		host.WithLogger(logger.With("side", "host")),
		host.WithRunner(r),
	}, hostOpts...)...)
	if err != nil {
		tb.Fatalf("plugintest: %v", err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("plugintest: %v", err)
		}
	})
	return p
}

// runner is a host.Runner whose process is a goroutine.
type runner struct {
	binding protocol.Binding
	opts    []plugin.Option
}

// Start implements [host.Runner]. It uses only the environment of the command.
func (r *runner) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // which ends with the start
	stdout, answers := io.Pipe()
	stderr, errorsOut := io.Pipe()
	p := &goroutine{stdout: stdout, stderr: stderr, cancel: cancel, done: make(chan struct{})}
	opts := append([]plugin.Option{
		plugin.WithLookupEnv(lookup(cfg.Command.Env)),
		plugin.WithAnswerWriter(answers),
	}, r.opts...)
	go func() {
		defer close(p.done)
		defer cancel()
		if err := plugin.Serve(ctx, r.binding, opts...); err != nil {
			p.status.Code = 1
			_, _ = io.WriteString(errorsOut, err.Error()+"\n") // the host closed it: then it does not care
		}
		_ = errors.Join(answers.Close(), errorsOut.Close()) // always nil
	}()
	return p, nil
}

// lookup returns a function that finds a variable in env. If env has a variable twice, the
// last one counts, as it does for a process.
func lookup(env []string) func(string) (string, bool) {
	values := make(map[string]string, len(env))
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		values[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

// goroutine is a host.Process.
type goroutine struct {
	stdout, stderr *io.PipeReader
	cancel         context.CancelFunc
	done           chan struct{} // closed when it has ended; status is set then
	status         host.ExitStatus
}

// ID implements [host.Process].
func (g *goroutine) ID() string { return "in this test" }

// Output implements [host.Process].
func (g *goroutine) Output() (stdout, stderr io.ReadCloser) { return g.stdout, g.stderr }

// Wait implements [host.Process].
func (g *goroutine) Wait(ctx context.Context) (host.ExitStatus, error) {
	select {
	case <-g.done:
		return g.status, nil
	case <-ctx.Done():
		return host.ExitStatus{}, context.Cause(ctx)
	}
}

// Terminate implements [host.Process].
func (g *goroutine) Terminate(context.Context) error {
	g.cancel()
	return nil
}

// Kill implements [host.Process]. A goroutine cannot be killed: a handler that ignores
// its context blocks the test, which then says where.
func (g *goroutine) Kill(context.Context) error {
	g.cancel()
	return nil
}
