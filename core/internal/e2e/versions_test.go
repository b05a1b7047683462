//go:build unix

package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/transport"
)

// TestTransportVersions runs hosts with plugins of different ages.
func TestTransportVersions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host, plugin, want string // a transport or words of the error
	}{
		{"unix", "unix", "unix/1"},
		{"unix", "unix2", "unix/1"},
		{"unix2", "unix", "unix/1"},
		{"unix2", "unix2", "unix/2"},
		{"unix", "quic tcp", "no transport in common"},
		{"unix2", "quic tcp", "no transport in common"},
		{"quic tcp", "unix", "no transport in common"},
		{"quic tcp", "unix2", "no transport in common"},
		{"quic tcp", "quic tcp", "quic/1"},
		{"quic tcp", "tcp quic", "quic/1"},
		{"tcp quic", "quic tcp", "tcp/1"},
		{"quic tcp unix2", "unix2 tcp", "tcp/1"},
		{"unix2 tcp", "tcp", "tcp/1"},
		{"socketpair unix", "unix2 socketpair", "socketpair/1"},
		{"socketpair", "unix", "no transport in common"},
		{"socketpair unix", "unix", "unix/1"},
		{"pigeon unix", "unix", "unix/1"},
		{"pigeon", "unix tcp quic", "(host: pigeon/2, pigeon/1; plugin: unix/1, tcp/1, quic/1)"},
	} {
		t.Run(tt.host+" and "+tt.plugin, func(t *testing.T) {
			t.Parallel()
			var offered []transport.Transport
			for name := range strings.FieldsSeq(tt.host) {
				if name == "pigeon" {
					offered = append(offered, pigeon{})
				} else {
					offered = append(offered, ways.Parse([]string{name})...)
				}
			}
			cmd, opts := command("versions-plugin", strings.Fields(tt.plugin)...), host.WithTransports(offered...)
			if strings.Contains(tt.want, " ") {
				_, err := host.Launch(testContext(t), cmd, options(t, opts)...)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
				return
			}
			p := launch(t, cmd, opts)
			if got := p.Info().Transport.String(); got != tt.want || p.Info().Skipped != "" {
				t.Errorf("%+v, want %s", p.Info(), tt.want)
			}
			if resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("hello")); err != nil || string(resp.GetData()) != "hello" {
				t.Errorf("a call: %q, %v", resp.GetData(), err)
			}
		})
	}
}

// nobody is a user other than root.
const nobody = 65534

// TestFallback starts a plugin that cannot open its host's preferred transport.
func TestFallback(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, cmd *exec.Cmd, want, skipped string, opts ...host.Option) {
		t.Helper()
		p, err := host.Launch(testContext(t), cmd, options(t, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}()
		if got := p.Info(); got.Transport.String() != want || !strings.HasPrefix(got.Skipped, skipped) {
			t.Errorf("%+v\nwant %s, and skipped %s...", got, want, skipped)
		}
		t.Log(p.Info().Skipped)
		if resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("hello")); err != nil || string(resp.GetData()) != "hello" {
			t.Errorf("a call: %q, %v", resp.GetData(), err)
		}
	}
	over := func(names ...string) host.Option { return host.WithTransports(ways.Parse(names)...) }

	t.Run("no free port", func(t *testing.T) {
		t.Parallel()
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		port := udp.LocalAddr().(*net.UDPAddr).Port
		check(t, command("versions-plugin", "quic", "tcp"), "tcp/1", "quic/1: ", over("quic", "tcp"), host.WithPortRange(port, port))
	})
	t.Run("UDP forbidden", func(t *testing.T) {
		t.Parallel()
		if !canForbid {
			t.Skip("the filter that forbids UDP is written for Linux on little-endian machines")
		}
		check(t, command("forbid", "udp", binDir+"/versions-plugin", "quic", "tcp", "unix"), "unix/1", "quic/1: ", over("quic", "unix"))
	})
	t.Run("directory not writable", func(t *testing.T) {
		t.Parallel()
		cmd := command("versions-plugin", "unix", "tcp")
		if os.Getuid() == 0 { // root could write everywhere
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		var dir string
		trace := &host.Trace{ProcessStart: func(e host.ProcessStartEvent) {
			dir = e.PrivateDir
			if err := os.Chmod(dir, 0o555); err != nil {
				t.Error(err)
			}
		}}
		check(t, cmd, "tcp/1", "unix/1: ", over("unix", "tcp"), host.WithTrace(trace))
	})
	t.Run("nothing can be opened", func(t *testing.T) {
		t.Parallel()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		port := ln.Addr().(*net.TCPAddr).Port
		_, err = host.Launch(testContext(t), command("versions-plugin", "tcp"), options(t, over("tcp"), host.WithPortRange(port, port))...)
		var refusal *handshake.Error
		if !errors.As(err, &refusal) || refusal.Code != handshake.CodeTransport || !strings.Contains(err.Error(), "tcp/1: ") {
			t.Errorf("%v, want a refusal for the transport", err)
		}
	})
}

// TestOffers sends a plugin offers that no host of this release makes.
func TestOffers(t *testing.T) {
	t.Parallel()
	const instance = "instance=0123456789abcdef"
	for _, tt := range []struct {
		name string
		env  []string
		want string // the answer has it
	}{
		{"unknown names and versions", offerOf(instance, "transports=carrier/7,unix/99,tcp/2,unix/2,unix/1"), "|unix|"},
		{"a version that only the host has", offerOf(instance, "transports=unix/3"), "error=transport:"},
		{"malformed items", offerOf(instance, "transports=unix,unix/,/1,unix/01,UNIX/1,unix/1/1,unix/-1,unix/2"), "transport=unix/2"},
		{"only malformed items", offerOf(instance, "transports=unix,unix/x"), "error=transport:"},
		{"items twice", offerOf(instance, "transports=unix/1,unix/1,tcp/1,unix/1"), "|unix|"},
		{"versions of one name apart", offerOf(instance, "transports=unix/1,tcp/1,unix/2"), "transport=unix/2"},
		{"no transports", offerOf(instance, "transports="), "error=transport:"},
		{"sessions that nobody knows", offerOf(instance, "transports=unix/1", "sessions=tunnel"), "error=session:"},
		{"only yamux", offerOf(instance, "transports=unix/1", "sessions=yamux"), "error=session:"},
		{"quic without its session", offerOf(instance, "transports=quic/1,unix/1", "sessions=direct"), "|unix|"},
		{"a key twice", offerOf(instance, "transports=unix/1", "transports=tcp/1"), "error=offer:"},
		{"a broken escape", offerOf(instance, "transports=unix%2"), "error=offer:"},
		{"a key that must be understood", offerOf(instance, "!colour=blue"), "error=offer:"},
		{"files that nobody passed", offerOf(instance, "transports=socketpair/1", "sessions=yamux", "files=socketpair:999"), "error=transport:"},
		{"files that nobody passed, of one transport", offerOf(instance, "transports=socketpair/1,unix/1", "sessions=yamux,direct", "files=socketpair:999"), "|unix|"},
		{"files that are this process's own", offerOf(instance, "transports=socketpair/1", "sessions=yamux", "files=socketpair:4+5+6+7"), "error=transport:"},
		{"malformed files", offerOf(instance, "files=socketpair"), "error=offer:"},
		{"no transports named", offerOf(instance), "|unix|"},
		{"foreign, nothing offered", nil, "1|1|unix|"},
		{"foreign, names only", []string{"PLUGIN_TRANSPORTS=carrier,tcp"}, "1|1|tcp|127.0.0.1:"},
		{"foreign, quic and unix", []string{"PLUGIN_TRANSPORTS=quic,unix"}, "1|1|unix|"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := command("versions-plugin", "unix2", "tcp", "quic", "socketpair")
			cmd.Env = append(os.Environ(), append([]string{"PLUGIN_MAGIC_COOKIE=plugwire", "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + shortDir(t)}, tt.env...)...)
			if got := answerOf(t, cmd); !strings.Contains(got, tt.want) {
				t.Errorf("the answer lacks %q:\n%s", tt.want, got)
			}
		})
	}
}

func offerOf(fields ...string) []string {
	return []string{"PLUGWIRE_OFFER=security=peercred,mtls|" + strings.Join(fields, "|")}
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "v-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// answerOf runs a plugin until it has answered, and returns the answer.
func answerOf(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // the plugin may have refused, and ended
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(io.LimitReader(stdout, 1<<20))
	for lines.Scan() {
		if lines.Text() != "" {
			return lines.Text()
		}
	}
	tb.Fatal(errors.Join(fmt.Errorf("%s printed no answer", cmd), lines.Err()))
	return ""
}
