//go:build unix

package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestPluginOnGoPlugin runs a plugin that is built on go-plugin under our host.
// Its answer has six fields and a certificate.
func TestPluginOnGoPlugin(t *testing.T) {
	t.Parallel()
	var taken steps
	p := launch(t, command("goplugin-peer", "serve"), taken.trace())
	info := p.Info()
	if info.Security != handshake.SecurityMTLS || info.Transport.String() != "unix/1" || info.Version != 1 {
		t.Errorf("%+v, want mtls over unix/1", info)
	}
	ctx := testContext(t)
	if err := p.Ping(ctx); err != nil {
		t.Error(err)
	}
	client := echopb.NewEchoClient(p)
	if resp, err := client.Unary(ctx, payload("hello")); err != nil || string(resp.GetData()) != "hello" {
		t.Errorf("Unary: %q, %v", resp.GetData(), err)
	}
	if err := drain(client.Download(ctx, &echopb.DownloadRequest{Count: 10, Size: 10})); !errors.Is(err, io.EOF) {
		t.Errorf("Download: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	taken.assert(t, host.StepAsk)
}

// TestCrashOnGoPlugin checks that the crash of a foreign plugin has the same
// error as that of our plugin.
func TestCrashOnGoPlugin(t *testing.T) {
	t.Parallel()
	p := launch(t, command("goplugin-peer", "serve"))
	_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("crash"))
	assertCrashed(t, err)
	waitFor(t, "Done", p.Done())
}

// TestKilledOnGoPlugin checks the same error for a killed foreign plugin. The system
// closes its connections before its listening socket, which looks like a server that
// ends its connections.
func TestKilledOnGoPlugin(t *testing.T) {
	t.Parallel()
	for range 5 {
		p := launch(t, command("goplugin-peer", "renew"))
		client := echopb.NewEchoClient(p)
		chat, err := client.Chat(testContext(t))
		if err == nil {
			err = chat.Send(payload("begun"))
		}
		if err == nil {
			_, err = chat.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_, inFlight := chat.Recv()
		_, next := client.Unary(testContext(t), payload("next"))
		for _, err := range []error{inFlight, next} {
			if exit := asExit(t, err); exit.Status.Signal != "killed" {
				t.Errorf("it ended with %v", exit)
			}
		}
		waitFor(t, "Done", p.Done())
	}
}

// run runs a host command with a directory for temporary files of its own, and
// returns its output.
func run(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "run-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		tb.Fatal(err)
	}
	// go-plugin kills a plugin without go-plugin's own service for shutdown,
	// and then the socket stays.
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			tb.Fatalf("%s: %v\n%s", cmd, err, exit.Stderr)
		}
		tb.Fatal(err)
	}
	return string(out)
}

// TestPluginUnderGoPlugin runs our plugin under a go-plugin host.
func TestPluginUnderGoPlugin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{name: "plain", want: "mutual TLS false"},
		{name: "AutoMTLS", args: []string{"-mtls"}, want: "mutual TLS true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append(append([]string{"host"}, tt.args...), echoPlugin().Path)
			if out := run(t, command("goplugin-peer", args...)); !strings.Contains(out, tt.want) {
				t.Errorf("output %q, want %q", out, tt.want)
			}
		})
	}
}

// TestKillByGoPlugin checks Kill of a go-plugin host, which gives our plugin two
// seconds to exit. Meanwhile other processes have idle connections to the plugin, on
// which they have sent some bytes or none.
func TestKillByGoPlugin(t *testing.T) {
	t.Parallel()
	const (
		preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		settings    = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		settingsAck = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
		halfHeaders = "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"
		noMessage   = "\x00\x00\x05\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00" // end of an empty request
		yamuxStream = "\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00"
	)
	begin := preface + settings + settingsAck
	for _, mode := range []string{"plain", "mtls", "mux"} {
		for name, said := range map[string]string{
			"silent":             "",
			"half a preface":     preface[:10],
			"no settings":        preface,
			"no acknowledgement": preface + settings,
			"no ping":            begin,
			"half headers":       begin + halfHeaders,
			"after a call":       begin + headers("/grpc.health.v1.Health/Check") + noMessage,
			"half a call":        begin + headers("/plugwire.e2e.Echo/Unary"),
			"a silent stream":    yamuxStream,
			"half TLS":           "\x16\x03\x01",
		} {
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()
				args := []string{"host", fmt.Sprintf("-idle=%x", said)}
				if mode != "plain" {
					args = append(args, "-"+mode)
				}
				run(t, command("goplugin-peer", append(args, echoPlugin().Path)...))
			})
		}
	}
}

// headers returns the frame that begins a call, each field as a literal (RFC 7541, section
// 6.2.2).
func headers(path string) string {
	var block strings.Builder
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", "localhost"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		block.WriteByte(0)
		for _, text := range field {
			block.WriteByte(byte(len(text)))
			block.WriteString(text)
		}
	}
	return string([]byte{0, 0, byte(block.Len())}) + "\x01\x04\x00\x00\x00\x01" + block.String()
}

// TestLinksBothFrameworks runs one program as a host and a plugin on both
// frameworks. If both registered the same message with protobuf, the program
// would end at its start.
func TestLinksBothFrameworks(t *testing.T) {
	t.Parallel()
	peer := command("goplugin-peer").Path
	want := "go-plugin called [" + peer + " serve], mutual TLS true\n" +
		"plugwire called [" + peer + " plugwire], security peercred\n" +
		"plugwire called [" + peer + " serve], security mtls\n" +
		"go-plugin called [" + peer + " plugwire], mutual TLS true\n"
	if out := run(t, command("goplugin-peer", "both")); out != want {
		t.Errorf("output %q\nwant   %q", out, want)
	}
}
