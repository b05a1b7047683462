//go:build unix

package e2e_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestPluginOnGoPlugin has our host run a plugin that is built on go-plugin,
// which answers with six fields and a certificate.
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

// TestCrashOnGoPlugin has the same error for a foreign plugin that crashes as
// for one of ours.
func TestCrashOnGoPlugin(t *testing.T) {
	t.Parallel()
	p := launch(t, command("goplugin-peer", "serve"))
	_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("crash"))
	assertCrashed(t, err)
	waitFor(t, "Done", p.Done())
}

// run runs a host that is a command of its own, in a directory for temporary
// files of its own, and returns what it prints.
func run(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "run-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		tb.Fatal(err)
	}
	// go-plugin kills a plugin that has not its own service for shutdown, and
	// then the socket stays.
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

// TestPluginUnderGoPlugin has a go-plugin host run our plugin.
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

// TestLinksBothFrameworks has one program be a host and a plugin on both
// frameworks. A message that both register with protobuf would end it at start.
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
