//go:build unix

package e2e_test

import (
	"bufio"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// byHand is a plugin that a person has started.
type byHand struct {
	tb     testing.TB
	cmd    *exec.Cmd
	line   string // first line of its standard output
	stderr lockedBuffer
	exited chan struct{} // closed when it has ended; err is set then
	err    error
}

// startByHand starts a plugin with env added to its environment, and waits for the
// first line that it prints. It is killed when the test ends, if it is still
// running.
func startByHand(tb testing.TB, cmd *exec.Cmd, env ...string) *byHand {
	tb.Helper()
	b := &byHand{tb: tb, cmd: cmd, exited: make(chan struct{})}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = &b.stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		defer close(b.exited)
		r := bufio.NewReader(stdout)
		first, _ := r.ReadString('\n') // the test checks that it is empty
		line <- strings.TrimSuffix(first, "\n")
		_, _ = io.Copy(io.Discard, r)
		b.err = cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		waitFor(tb, "the end of the plugin", b.exited)
	})
	b.line = waitFor(tb, "a line of the plugin", line)
	return b
}

// debug starts a plugin in debug mode.
func debug(tb testing.TB, cmd *exec.Cmd, env ...string) *byHand {
	tb.Helper()
	return startByHand(tb, cmd, append(env, negotiation.EnvDebug+"=1")...)
}

// value returns the value that a shell assigns from the plugin's printed line.
func (b *byHand) value() string {
	b.tb.Helper()
	value, ok := strings.CutPrefix(b.line, negotiation.EnvAttach+"=")
	if !ok {
		b.tb.Fatalf("the plugin prints %q\n%s", b.line, &b.stderr)
	}
	out, err := exec.Command("/bin/sh", "-c", "printf %s "+value).Output()
	if err != nil {
		b.tb.Fatal(err)
	}
	return string(out)
}

// info returns the AttachInfo that the plugin has printed.
func (b *byHand) info() handshake.AttachInfo {
	b.tb.Helper()
	info, err := handshake.ParseAttachInfo(b.value())
	if err != nil {
		b.tb.Fatal(err)
	}
	return info
}

// stop ends the plugin by a signal, and checks that nothing is left.
func (b *byHand) stop(signal os.Signal) {
	b.tb.Helper()
	address := b.info().Address
	if err := b.cmd.Process.Signal(signal); err != nil {
		b.tb.Fatal(err)
	}
	waitFor(b.tb, "the end of the plugin", b.exited)
	if b.err != nil {
		b.tb.Errorf("after %v: %v\n%s", signal, b.err, &b.stderr)
	}
	if !filepath.IsAbs(address) {
		return
	}
	if _, err := os.Lstat(filepath.Dir(address)); !errors.Is(err, os.ErrNotExist) {
		b.tb.Errorf("the directory of %s is left: %v", address, err)
	}
}

// attach attaches to a plugin. The host's end of it is closed when the test ends.
func attach(tb testing.TB, info handshake.AttachInfo, opts ...host.Option) *host.Plugin {
	tb.Helper()
	p, err := host.Attach(testContext(tb), info, options(tb, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = p.Close() // the test checks the error
		waitFor(tb, "Done", p.Done())
	})
	return p
}

// assertEcho makes a call.
func assertEcho(tb testing.TB, p *host.Plugin) {
	tb.Helper()
	if resp, err := echopb.NewEchoClient(p).Unary(testContext(tb), payload("hello")); err != nil || string(resp.GetData()) != "hello" {
		tb.Errorf("a call: %q, %v", resp.GetData(), err)
	}
}

// TestDebug attaches several hosts to a plugin that a person has started.
func TestDebug(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, security string
		args           []string
		signal         os.Signal
	}{
		{"unix", handshake.SecurityPeerCred, []string{"unix", "tcp"}, os.Interrupt},
		{"tcp", handshake.SecurityMTLS, []string{"tcp", "unix"}, syscall.SIGTERM},
		{"quic", handshake.SecurityMTLS, []string{"quic"}, syscall.SIGTERM},
		{"unix", handshake.SecurityPeerCred, []string{"socketpair", "unix"}, syscall.SIGTERM}, // its connection cannot be made later
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			b := debug(t, command("versions-plugin", tt.args...))
			info := b.info()
			if info.PID != b.cmd.Process.Pid || !info.Stays || info.Protocol != echopb.EchoProtocol.Name() {
				t.Errorf("it prints %v", info)
			}
			over := host.WithTransports(ways.Parse([]string{"unix", "tcp", "quic"})...)
			for range 3 {
				p := attach(t, info, over)
				if got := p.Info(); got.Transport.Name != tt.name || got.Security != tt.security || got.PID != info.PID {
					t.Errorf("%+v, want %s by %s", got, tt.name, tt.security)
				}
				other := attach(t, info, over) // at the same time
				assertEcho(t, p)
				assertEcho(t, other)
				for _, one := range []*host.Plugin{p, other} {
					if err := one.Close(); err != nil || one.Err() != nil {
						t.Errorf("Close: %v, Err %v", err, one.Err())
					}
				}
				if _, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("")); status.Code(err) != codes.Unavailable {
					t.Errorf("a call after Close: %v", err)
				}
			}
			b.stop(tt.signal)
		})
	}
}

// TestDebugTellsThePerson checks that the plugin's log and its help are for
// people.
func TestDebugTellsThePerson(t *testing.T) {
	t.Parallel()
	b := debug(t, echoPlugin())
	p := attach(t, b.info())
	if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("log")); err != nil {
		t.Error(err)
	}
	if strings.Contains(b.line, "hostkey") {
		t.Errorf("a key where none is needed: %s", b.line)
	}
	b.stop(os.Interrupt)
	assertSays(t, b.stderr.String(), fmt.Sprintf("process %d, until Ctrl-C", b.cmd.Process.Pid), "WRN a word from the handler number=9007199254740993 from=echo")

	b = debug(t, command("versions-plugin", "tcp"))
	b.stop(os.Interrupt)
	assertSays(t, b.stderr.String(), "it holds a private key")
}

// TestDebugCallbacks checks that a plugin can call each of the attached hosts.
func TestDebugCallbacks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"unix", "tcp", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := debug(t, command("duplex-plugin", name))
			over := host.WithTransports(ways.Parse([]string{name})...)
			for range 3 {
				h := &duplex.Handler{}
				attached := make(chan struct{})
				var p *host.Plugin
				h.Other = func(context.Context) grpc.ClientConnInterface {
					<-attached
					return p
				}
				p = attach(t, b.info(), over, host.WithProtocols(duplexpb.DuplexProtocol), host.WithServices(duplexpb.ServeDuplex(h)))
				close(attached)
				if resp, err := duplexpb.NewDuplexClient(p).Descend(testContext(t), &duplexpb.Descent{Depth: 9}); err != nil || resp.GetDepth() != 9 {
					t.Errorf("%v, %v", resp, err)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
			// A host without services reports that at once.
			p := attach(t, b.info(), over, host.WithProtocols(duplexpb.DuplexProtocol))
			if _, err := duplexpb.NewDuplexClient(p).Descend(testContext(t), &duplexpb.Descent{Depth: 1}); status.Code(err) != codes.Unimplemented {
				t.Errorf("a call back to a host that serves nothing: %v", err)
			}
			b.stop(os.Interrupt)
		})
	}
}

// TestDebugCallsBackTheCaller attaches two hosts at the same time. The plugin calls back the
// host whose call it handles.
func TestDebugCallsBackTheCaller(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"unix", "tcp", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := debug(t, command("duplex-plugin", name))
			over := host.WithTransports(ways.Parse([]string{name})...)
			hosts := make([]*host.Plugin, 2)
			calledBack := make([]atomic.Int32, len(hosts))
			var attached sync.WaitGroup
			attached.Add(len(hosts))
			for i := range hosts {
				h := &duplex.Handler{}
				h.Other = func(context.Context) grpc.ClientConnInterface {
					attached.Wait()
					calledBack[i].Add(1)
					return hosts[i]
				}
				hosts[i] = attach(t, b.info(), over, host.WithProtocols(duplexpb.DuplexProtocol), host.WithServices(duplexpb.ServeDuplex(h)))
				attached.Done()
			}
			for i, p := range hosts {
				for j := range calledBack {
					calledBack[j].Store(0)
				}
				if resp, err := duplexpb.NewDuplexClient(p).Descend(testContext(t), &duplexpb.Descent{Depth: 9}); err != nil || resp.GetDepth() != 9 {
					t.Errorf("%v, %v", resp, err)
				}
				if own, other := calledBack[i].Load(), calledBack[1-i].Load(); own == 0 || other != 0 {
					t.Errorf("host %d was called back %d times, the other host %d times", i, own, other)
				}
			}
			for _, p := range hosts {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
			b.stop(os.Interrupt)
		})
	}
}

// TestDebugRefuses starts plugins with a person's mistakes, and under a
// program.
func TestDebugRefuses(t *testing.T) {
	t.Parallel()
	cookie := handshake.DefaultCookieName + "=" + handshake.DefaultCookieValue
	for _, tt := range []struct {
		name string
		cmd  *exec.Cmd
		env  []string
		says string
	}{
		{"value", echoPlugin(), []string{negotiation.EnvDebug + "=maybe"}, "PLUGWIRE_DEBUG=maybe: want 1, or go-plugin"},
		{"off", echoPlugin(), []string{negotiation.EnvDebug + "=0"}, "not by hand"},
		{"versions", echoPlugin(), []string{negotiation.EnvDebug + "=1", negotiation.EnvVersions + "=8,9"}, "PLUGIN_PROTOCOL_VERSIONS=8,9: this plugin serves"},
		{"no transport", command("versions-plugin", "socketpair"), []string{negotiation.EnvDebug + "=1"}, "no transport in common"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := startByHand(t, tt.cmd, tt.env...)
			waitFor(t, "the end of the plugin", b.exited)
			if exit, ok := errors.AsType[*exec.ExitError](b.err); !ok || exit.ExitCode() != 1 || b.line != "" {
				t.Errorf("it ends with %v and prints %q", b.err, b.line)
			}
			assertSays(t, b.stderr.String(), tt.says)
		})
	}
	t.Run("started by a host", func(t *testing.T) {
		t.Parallel()
		b := startByHand(t, echoPlugin(), cookie, negotiation.EnvVersions+"=1", negotiation.EnvDebug+"=1")
		if answer, err := negotiation.ParseAnswer(b.line, ""); err != nil || answer.Plugwire {
			t.Errorf("it answers %q: %+v, %v", b.line, answer, err)
		}
		// A killed plugin would leave its directory.
		if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		waitFor(t, "the end of the plugin", b.exited)
	})
}

// TestDebugGoPlugin debugs a plugin under hosts on go-plugin, and ours.
func TestDebugGoPlugin(t *testing.T) {
	t.Parallel()
	b := startByHand(t, echoPlugin(), negotiation.EnvDebug+"="+negotiation.DebugGoPlugin)
	want := fmt.Sprintf("go-plugin called process %d\n", b.cmd.Process.Pid)
	for range 2 {
		if out := run(t, command("goplugin-peer", "reattach", b.line)); out != want {
			t.Errorf("output %q, want %q", out, want)
		}
	}
	info, err := handshake.ParseAttachInfo(b.line)
	if err != nil || !info.Stays || !info.Foreign {
		t.Fatalf("%v, %v", info, err)
	}
	p := attach(t, info)
	assertEcho(t, p)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if out := run(t, command("goplugin-peer", "reattach", b.line)); out != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if err := b.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the plugin", b.exited)
	assertSays(t, b.stderr.String(), "ReattachConfig", "TF_REATTACH_PROVIDERS")
	if _, err := os.Lstat(filepath.Dir(info.Address)); b.err != nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the plugin ended with %v, its directory %v", b.err, err)
	}
}

// TestLaunchAttaches launches with an environment that names a running plugin.
func TestLaunchAttaches(t *testing.T) {
	b := debug(t, echoPlugin())
	started := host.WithTrace(&host.Trace{ProcessStart: func(host.ProcessStartEvent) { t.Error("a process is started") }})
	t.Run("attach", func(t *testing.T) {
		t.Setenv(negotiation.EnvAttach, b.value())
		logger, book := newJournal(t, slog.LevelWarn)
		p, err := host.Launch(testContext(t), exec.Command("no-such-plugin"), options(t, started, host.WithLogger(logger))...)
		if err != nil {
			t.Fatal(err)
		}
		if p.Info().PID != b.cmd.Process.Pid {
			t.Errorf("%+v, want process %d", p.Info(), b.cmd.Process.Pid)
		}
		assertEcho(t, p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if r, ok := book.find("attaching to a plugin that runs already, instead of launching one"); !ok || r.Level != slog.LevelWarn {
			t.Errorf("the record is %+v", r)
		}
	})
	t.Run("another protocol", func(t *testing.T) {
		t.Setenv(negotiation.EnvAttach, strings.ReplaceAll(b.value(), b.info().Protocol, "another"))
		p := launch(t, echoPlugin())
		if p.Info().PID == b.cmd.Process.Pid {
			t.Error("attached to a plugin of another protocol")
		}
		assertEcho(t, p)
	})
	for _, tt := range []struct {
		name, value string
		opts        []host.Option
		says        []string
	}{
		{name: "malformed", value: "{", says: []string{"PLUGWIRE_ATTACH", "not a JSON object"}},
		{name: "malformed entry", value: `{"x":{"plugwire":1}}`, says: []string{"PLUGWIRE_ATTACH", `entry "x"`, "transport"}},
		{
			name: "checksum", value: b.value(), opts: []host.Option{host.WithChecksum(crypto.SHA256, make([]byte, 32))},
			says: []string{"PLUGWIRE_ATTACH", "host.WithChecksum"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(negotiation.EnvAttach, tt.value)
			_, err := host.Launch(testContext(t), echoPlugin(), options(t, append(tt.opts, started)...)...)
			assertStartFails(t, err, host.PhasePrepare, tt.says...)
		})
	}
	b.stop(os.Interrupt)
}
