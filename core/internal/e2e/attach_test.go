//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/process"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// runningOnGoPlugin starts a plugin on go-plugin like its host, and returns the
// ReattachConfig that such a host makes of the answer.
func runningOnGoPlugin(tb testing.TB, test bool, pid int) (*byHand, handshake.AttachInfo) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "r-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { // runs after the plugin's end, because a killed plugin leaves its socket
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	b := startByHand(tb, command("goplugin-peer", "serve"),
		handshake.DefaultCookieName+"="+handshake.DefaultCookieValue, negotiation.EnvVersions+"=1", "TMPDIR="+dir)
	fields := strings.Split(b.line, "|")
	if len(fields) != 6 {
		tb.Fatalf("it answers %q\n%s", b.line, &b.stderr)
	}
	if pid == 0 {
		pid = b.cmd.Process.Pid
	}
	info, err := handshake.ParseAttachInfo(fmt.Sprintf(`{"Protocol":%q,"ProtocolVersion":%s,"Pid":%d,"Test":%t,"Addr":{"Network":%q,"String":%q}}`,
		fields[4], fields[1], pid, test, fields[2], fields[3]))
	if err != nil {
		tb.Fatal(err)
	}
	return b, info
}

// bystander is a process unrelated to any plugin.
func bystander(tb testing.TB) *byHand {
	tb.Helper()
	return startByHand(tb, exec.Command("/bin/sh", "-c", "echo; exec sleep 600"))
}

// strangerTo is a bystander that can be told from the process of info by its start time. Two
// processes that start in the same tick of the system's clock, of 10 ms on Linux, have the
// same time. A host that gets the number of such a process takes it for the plugin.
func strangerTo(tb testing.TB, info handshake.AttachInfo) *byHand {
	tb.Helper()
	for {
		b := bystander(tb)
		started, err := process.StartTime(b.cmd.Process.Pid)
		if err != nil {
			tb.Fatal(err)
		}
		if started != info.Started {
			return b
		}
	}
}

func (b *byHand) signal(signal os.Signal) {
	b.tb.Helper()
	if err := b.cmd.Process.Signal(signal); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *byHand) assertLives(what string) {
	b.tb.Helper()
	if isClosed(b.exited) {
		b.tb.Errorf("%s was ended: %v", what, b.err)
	}
}

// mortal returns the info of a plugin that this host may stop.
func mortal(info handshake.AttachInfo) handshake.AttachInfo {
	info.Stays = false
	return info
}

// TestAttachGoPlugin attaches to a plugin on go-plugin, and stops it.
func TestAttachGoPlugin(t *testing.T) {
	t.Parallel()
	b, info := runningOnGoPlugin(t, false, 0)
	var taken steps
	p := attach(t, info, taken.trace())
	if got := p.Info(); got.Security != handshake.SecurityPeerCred || got.Version != 1 || got.PID != b.cmd.Process.Pid {
		t.Errorf("%+v", got)
	}
	assertEcho(t, p)
	if err := p.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	waitFor(t, "the end of the plugin", b.exited)
	taken.assert(t, host.StepAsk)
}

// TestAttachGoPluginThatStays attaches repeatedly to a plugin that its hosts may
// not stop.
func TestAttachGoPluginThatStays(t *testing.T) {
	t.Parallel()
	b, info := runningOnGoPlugin(t, true, 0)
	for range 3 {
		var taken steps
		p := attach(t, info, taken.trace())
		assertEcho(t, p)
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		taken.assert(t)
	}
	b.assertLives("a plugin that stays")
}

// TestAttachedEnds checks that the end of the plugin ends calls in flight, and
// that the host reports it.
func TestAttachedEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		bystander bool // the info has the number of another process
		start     func(t *testing.T) (*byHand, handshake.AttachInfo)
	}{
		{name: "stays", start: func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			b := debug(t, command("versions-plugin", "tcp"))
			return b, b.info()
		}},
		{name: "does not stay", start: func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			b := debug(t, command("versions-plugin", "tcp"))
			return b, mortal(b.info())
		}},
		{name: "unknown process", start: func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			b := debug(t, command("versions-plugin", "tcp"))
			info := mortal(b.info())
			info.PID = 0
			return b, info
		}},
		{name: "unknown process, over quic", start: func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			b := debug(t, command("versions-plugin", "quic"))
			info := mortal(b.info())
			info.PID = 0
			return b, info
		}},
		{name: "another process, over quic, stays", bystander: true, start: func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			b := debug(t, command("versions-plugin", "quic"))
			info := b.info()
			info.PID = strangerTo(t, info).cmd.Process.Pid
			return b, info
		}},
		{name: "go-plugin", start: func(t *testing.T) (*byHand, handshake.AttachInfo) { t.Helper(); return runningOnGoPlugin(t, false, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, info := tt.start(t)
			p := attach(t, info, host.WithTransports(unix.New(), tcp.New(), quic.New()))
			assertEcho(t, p)
			stream, err := echopb.NewEchoClient(p).Chat(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(payload("in flight")); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := stream.Recv()
				ended <- err
			}()
			b.signal(syscall.SIGKILL)
			began := time.Now()
			// Over quic the host finds that no process listens when it sends its next packet:
			// an acknowledgement that is due, or a keep-alive. It may check the other process,
			// which runs, before that.
			err = waitFor(t, "the end of the call", ended)
			if !tt.bystander || !strings.Contains(err.Error(), "was lost while it went on running") {
				if exit := asExit(t, err); !exit.Status.Unknown || exit.Status.String() != "exit status unknown" {
					t.Errorf("status %v, want unknown", exit.Status)
				}
			}
			waitFor(t, "Done", p.Done())
			if took := time.Since(began); took > unhurried {
				t.Errorf("it took %v", took)
			}
			if _, ok := errors.AsType[*host.ExitError](p.Err()); !ok || p.Close() == nil {
				t.Errorf("Err: %v, Close: %v", p.Err(), p.Close())
			}
		})
	}
}

// TestAttachRefuses attaches with infos that do not fit. The plugin keeps
// running.
func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	unixPlugin, tcpPlugin := debug(t, echoPlugin()), debug(t, command("versions-plugin", "tcp"))
	onUnix, onTCP := unixPlugin.info(), tcpPlugin.info()
	foreign := handshake.AttachInfo{
		Foreign: true, Transport: onTCP.Transport, Address: onTCP.Address,
		Session: handshake.SessionDirect, Wire: handshake.WireH2, Security: handshake.SecurityNone,
	}
	with := func(info handshake.AttachInfo, change func(*handshake.AttachInfo)) handshake.AttachInfo {
		change(&info)
		return mortal(info)
	}
	over := host.WithTransports(unix.New(), tcp.New())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name  string
		info  handshake.AttachInfo
		opts  []host.Option
		ctx   context.Context //nolint:containedctx // the case's
		phase host.Phase
		says  []string
	}{
		{name: "nothing", phase: host.PhasePrepare, says: []string{"which was not offered"}},
		{name: "version", info: with(onUnix, func(info *handshake.AttachInfo) { info.Version = 7 }), phase: host.PhasePrepare, says: []string{"no protocol version in common", "version 7"}},
		{
			name: "protocol", info: with(onUnix, func(*handshake.AttachInfo) {}), phase: host.PhasePrepare, says: []string{"different protocols"},
			opts: []host.Option{host.WithProtocols(protocol.New("other", 1, &echopb.Echo_ServiceDesc))},
		},
		{name: "transport", info: onTCP, opts: []host.Option{host.WithTransports(unix.New())}, phase: host.PhasePrepare, says: []string{"transport tcp/1"}},
		{name: "no mutual TLS", info: onUnix, opts: []host.Option{host.WithMutualTLS()}, phase: host.PhasePrepare, says: []string{`security "peercred"`}},
		{name: "plaintext", info: foreign, phase: host.PhasePrepare, says: []string{"weaker", "host.WithPlaintext"}},
		{name: "no key", info: with(onTCP, func(info *handshake.AttachInfo) { info.HostKey = nil }), phase: host.PhasePrepare, says: []string{"hostkey"}},
		{
			name: "another's key", info: with(onTCP, func(info *handshake.AttachInfo) {
				other := debug(t, command("versions-plugin", "tcp")).info()
				info.HostCert, info.HostKey = other.HostCert, other.HostKey
			}),
			phase: host.PhaseConnect, says: []string{"tcp/1"},
		},
		{
			name: "another's certificate", info: with(onTCP, func(info *handshake.AttachInfo) { info.Cert = info.HostCert }),
			phase: host.PhaseConnect, says: []string{"the peer's certificate is not the one"},
		},
		{
			name: "gone", info: with(onUnix, func(info *handshake.AttachInfo) { info.Address += "-gone" }),
			phase: host.PhaseConnect, says: []string{"has it ended? Start it again"},
		},
		{name: "context", info: onUnix, ctx: ended, phase: host.PhasePrepare, says: []string{"context canceled"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			if tt.ctx != nil {
				ctx = tt.ctx
			}
			_, err := host.Attach(ctx, tt.info, options(t, append([]host.Option{over}, tt.opts...)...)...)
			assertStartFails(t, err, tt.phase, append(tt.says, "could not be attached to")...)
		})
	}
	t.Cleanup(func() { // the plugin works after all attempts
		for _, b := range []*byHand{unixPlugin, tcpPlugin} {
			b.assertLives("a plugin that was not attached to")
			b.stop(os.Interrupt)
		}
	})
}

// TestAttachedIsStopped checks that a host stops a plugin on Plugwire that it may
// stop.
func TestAttachedIsStopped(t *testing.T) {
	t.Parallel()
	b := debug(t, echoPlugin())
	var taken steps
	p := attach(t, mortal(b.info()), taken.trace())
	assertEcho(t, p)
	if err := p.Close(); err != nil || p.Err() != nil {
		t.Errorf("Close: %v, Err %v", err, p.Err())
	}
	waitFor(t, "the end of the plugin", b.exited)
	if b.err != nil {
		t.Errorf("the plugin ended with %v", b.err)
	}
	taken.assert(t, host.StepAsk)
}

// TestAttachedIsAsked checks that a plugin whose process is not proven ends when the
// host asks it.
func TestAttachedIsAsked(t *testing.T) {
	t.Parallel()
	stranger := bystander(t)
	check := func(t *testing.T, b *byHand, info handshake.AttachInfo) {
		t.Helper()
		var taken steps
		p := attach(t, info, taken.trace())
		assertEcho(t, p)
		if err := p.Close(); err != nil || p.Err() != nil {
			t.Errorf("Close: %v, Err %v", err, p.Err())
		}
		waitFor(t, "the end of the plugin", b.exited)
		taken.assert(t, host.StepAsk)
		stranger.assertLives("a stranger")
	}
	t.Run("Plugwire", func(t *testing.T) {
		t.Parallel()
		b := debug(t, echoPlugin())
		info := mortal(b.info())
		info.PID = stranger.cmd.Process.Pid
		check(t, b, info)
	})
	t.Run("go-plugin", func(t *testing.T) {
		t.Parallel()
		b, info := runningOnGoPlugin(t, false, stranger.cmd.Process.Pid)
		check(t, b, info)
	})
}

// TestAttachedLetGo detaches from a plugin with a call in flight: the call ends
// here, and in the plugin.
func TestAttachedLetGo(t *testing.T) {
	t.Parallel()
	b := debug(t, echoPlugin())
	p := attach(t, b.info())
	chat, err := echopb.NewEchoClient(p).Chat(testContext(t))
	if err == nil {
		err = chat.Send(payload("in flight"))
	}
	if err == nil {
		_, err = chat.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := chat.Recv(); status.Code(err) != codes.Unavailable || !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "this host has closed its connections") {
		t.Errorf("the call ended with %v", err)
	}
	b.stop(os.Interrupt) // waits for calls in flight
}
