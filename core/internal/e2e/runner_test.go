//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// elsewhere is a host.Runner whose plugins have another name for the directory of their
// socket than the host: a link that exists only until they listen. Their addresses mean
// nothing to the host until the runner translates them.
type elsewhere struct {
	link      string                                                // the plugins' name for the directory
	translate func(network, address string) (string, string, error) // after that; nil for none
	started   func(ctx context.Context, process *elsewhereProcess)  // may be nil
}

// Start implements [host.Runner].
func (r *elsewhere) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	dir, cmd := cfg.PrivateDir, cfg.Command
	if err := os.Symlink(dir, r.link); err != nil {
		return nil, err
	}
	cfg.SetPrivateDir(r.link)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &elsewhereProcess{runner: r, cmd: cmd, dir: dir, stdout: stdout, stderr: stderr, exited: make(chan struct{})}
	go func() {
		// Not Wait, which closes what is still read.
		p.state, p.err = cmd.Process.Wait()
		close(p.exited)
	}()
	if r.started != nil {
		r.started(ctx, p)
	}
	return p, nil
}

// elsewhereProcess is a host.Process.
type elsewhereProcess struct {
	runner         *elsewhere
	cmd            *exec.Cmd
	dir            string // the host's name for what is runner.link for the plugin
	stdout, stderr io.ReadCloser
	exited         chan struct{} // closed when state and err are set
	state          *os.ProcessState
	err            error
}

var _ host.Translator = (*elsewhereProcess)(nil)

func (p *elsewhereProcess) ID() string { return strconv.Itoa(p.cmd.Process.Pid) }

func (p *elsewhereProcess) Output() (stdout, stderr io.ReadCloser) { return p.stdout, p.stderr }

func (p *elsewhereProcess) Wait(context.Context) (host.ExitStatus, error) {
	<-p.exited
	if p.err != nil {
		return host.ExitStatus{}, p.err
	}
	return host.ExitStatus{Code: p.state.ExitCode()}, nil
}

func (p *elsewhereProcess) Terminate(context.Context) error {
	return p.cmd.Process.Signal(syscall.SIGTERM)
}

func (p *elsewhereProcess) Kill(context.Context) error { return p.cmd.Process.Kill() }

// PluginToHost implements [host.Translator].
func (p *elsewhereProcess) PluginToHost(network, address string) (string, string, error) {
	name, ok := strings.CutPrefix(address, p.runner.link+"/")
	if network != unix.Name || !ok {
		return "", "", errors.New("it is not in the shared directory")
	}
	if err := os.Remove(p.runner.link); err != nil {
		return "", "", err
	}
	address = filepath.Join(p.dir, name)
	if p.runner.translate != nil {
		return p.runner.translate(network, address)
	}
	return network, address, nil
}

// HostToPlugin implements [host.Translator].
func (p *elsewhereProcess) HostToPlugin(network, address string) (string, string, error) {
	return network, strings.Replace(address, p.dir, p.runner.link, 1), nil
}

// newElsewhere returns a runner with a directory for its link.
func newElsewhere(tb testing.TB) *elsewhere {
	tb.Helper()
	dir, err := os.MkdirTemp("", "w-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return &elsewhere{link: filepath.Join(dir, "there")}
}

// TestRunnerElsewhere checks plugins whose addresses are not the host's.
func TestRunnerElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, security string
		opts           []host.Option
	}{
		{name: "by peer credentials", security: handshake.SecurityPeerCred},
		{name: "by mutual TLS", security: handshake.SecurityMTLS, opts: []host.Option{host.WithMutualTLS()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var dialed string
			var dir string
			trace := &host.Trace{
				ProcessStart: func(e host.ProcessStartEvent) { dir = e.PrivateDir },
				Dial:         func(e host.DialEvent) { dialed = e.Address },
			}
			r := newElsewhere(t)
			p := launch(t, echoPlugin(), append(tt.opts, host.WithRunner(r), host.WithTrace(trace))...)
			if filepath.Dir(dialed) != dir || p.Info().Security != tt.security {
				t.Errorf("dialed %s with %+v, want a socket in %s and security %s", dialed, p.Info(), dir, tt.security)
			}
			if resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("hello")); err != nil || string(resp.GetData()) != "hello" {
				t.Errorf("a call: %q, %v", resp.GetData(), err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("directory %s is left: %v", dir, err)
			}
		})
	}
}

// forward makes a TCP port lead to a unix socket, until the test ends.
func forward(tb testing.TB, to string) (address string) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var tasks sync.WaitGroup
	pass := func(from, to net.Conn) {
		_, _ = io.Copy(to, from) // ends with either
		_ = from.Close()
		_ = to.Close()
	}
	tasks.Go(func() {
		for {
			outer, err := ln.Accept()
			if err != nil {
				return
			}
			inner, err := net.Dial("unix", to)
			if err != nil {
				_ = outer.Close()
				continue
			}
			tasks.Go(func() { pass(outer, inner) })
			tasks.Go(func() { pass(inner, outer) })
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		tasks.Wait()
	})
	return ln.Addr().String()
}

// TestRunnerForwards reaches the plugin's socket by a port that is forwarded to it,
// like that of a virtual machine.
func TestRunnerForwards(t *testing.T) {
	t.Parallel()
	runner := func(t *testing.T) host.Option {
		t.Helper()
		r := newElsewhere(t)
		r.translate = func(_, address string) (string, string, error) { return tcp.Name, forward(t, address), nil }
		return host.WithRunner(r)
	}
	t.Run("with mutual TLS", func(t *testing.T) {
		t.Parallel()
		p := launch(t, echoPlugin(), runner(t), host.WithTransports(unix.New(), tcp.New()), host.WithMutualTLS())
		if resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("hello")); err != nil || string(resp.GetData()) != "hello" {
			t.Errorf("a call: %q, %v", resp.GetData(), err)
		}
	})
	t.Run("not by peer credentials", func(t *testing.T) {
		t.Parallel()
		_, err := host.Launch(testContext(t), echoPlugin(), options(t, runner(t), host.WithTransports(unix.New(), tcp.New()))...)
		assertStartFails(t, err, host.PhaseConnect, "peer credentials", "not a unix socket")
	})
	t.Run("without the transport", func(t *testing.T) {
		t.Parallel()
		_, err := host.Launch(testContext(t), echoPlugin(), options(t, runner(t), host.WithMutualTLS())...)
		assertStartFails(t, err, host.PhaseConnect, "the host has no transport tcp", "host.WithTransports")
	})
}

func assertStartFails(tb testing.TB, err error, phase host.Phase, words ...string) {
	tb.Helper()
	start, ok := errors.AsType[*host.StartError](err)
	if !ok {
		tb.Fatalf("%T %v, want a StartError", err, err)
	}
	if start.Phase != phase {
		tb.Errorf("phase %s, want %s", start.Phase, phase)
	}
	assertSays(tb, err.Error(), words...)
}

// TestRunnerKnowsNoWay checks a runner that cannot translate the plugin's address.
func TestRunnerKnowsNoWay(t *testing.T) {
	t.Parallel()
	r := newElsewhere(t)
	r.translate = func(string, string) (string, string, error) { return "", "", errors.New("no such route") }
	var process *elsewhereProcess
	r.started = func(_ context.Context, p *elsewhereProcess) { process = p }
	_, err := host.Launch(testContext(t), echoPlugin(), options(t, host.WithRunner(r))...)
	assertStartFails(t, err, host.PhaseConnect, "the runner knows no way from the host to the plugin's address unix:"+r.link, "no such route")
	if !isClosed(process.exited) {
		t.Error("its process is left")
	}
}

// slowRunner starts nothing before its context ends.
type slowRunner struct{}

func (slowRunner) Start(ctx context.Context, _ host.StartConfig) (host.Process, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestRunnerContext checks that the context of a start bounds the start, and nothing
// after it.
func TestRunnerContext(t *testing.T) {
	t.Parallel()
	_, err := host.Launch(testContext(t), echoPlugin(), options(t, host.WithRunner(slowRunner{}), host.WithStartTimeout(10*time.Millisecond))...)
	assertStartFails(t, err, host.PhaseStart, "it was not ready within 10ms")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not a context.DeadlineExceeded", err)
	}

	var start <-chan struct{}
	r := newElsewhere(t)
	r.started = func(ctx context.Context, _ *elsewhereProcess) { start = ctx.Done() }
	p := launch(t, echoPlugin(), host.WithRunner(r))
	waitFor(t, "the end of the start's context", start)
	if err := p.Ping(testContext(t)); err != nil {
		t.Errorf("after the start's context: %v", err)
	}
}
