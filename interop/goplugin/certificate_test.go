//go:build unix

package goplugin_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/interop/peer/service"
	"github.com/plugwire/plugwire/transport/unix"
)

var interop = protocol.New("interop", 1, &service.Desc)

// launch starts a command with the fewest options that a host needs, followed by
// more.
func launch(t *testing.T, cmd *exec.Cmd, opts ...host.Option) *host.Plugin {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	p, err := host.Launch(t.Context(), cmd, append([]host.Option{
		host.WithProtocols(interop), host.WithTransports(unix.New()),
		host.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return p
}

// callBack asks the plugin to call the host through the broker.
func callBack(t *testing.T, p *host.Plugin) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	id := p.Broker().NextID()
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- p.Broker().Serve(serving, id, protocol.Bind(protocol.New("echo", 1, &service.EchoDesc), service.FromHost))
	}()
	got, err := service.Client{Conn: p}.CallHost(ctx, id)
	stop()
	if servedErr := <-served; servedErr != nil {
		t.Error(servedErr)
	}
	if want := string(service.FromHost) + service.Question; err == nil && got != want {
		t.Errorf("the call back says %q, want %q", got, want)
	}
	return err
}

// TestCertificateOfAProgram launches plugins on every release without an option. The
// broker works with each, also on releases where a certificate would break it. A
// plugin that only its user can reach gets no certificate.
func TestCertificateOfAProgram(t *testing.T) {
	t.Parallel()
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			p := launch(t, exec.Command(binary(release), "plugin"))
			want := handshake.SecurityPeerCred
			if runtime.GOOS != "linux" && isBefore(release, "v1.5.2") { // other systems do not show the umask
				want = handshake.SecurityMTLS
			}
			if security := p.Info().Security; security != want {
				t.Errorf("the security is %s, want %s", security, want)
			}
			err := callBack(t, p)
			if want == handshake.SecurityMTLS && isBefore(release, "v1.4.10") {
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCertificateOfAScript launches scripts that start plugins. The host cannot know
// what kind of plugin a script starts, so without the option it offers the certificate.
func TestCertificateOfAScript(t *testing.T) {
	t.Parallel()
	script := func(release string) *exec.Cmd {
		return exec.Command("sh", "-c", fmt.Sprintf("exec %s plugin", binary(release)))
	}
	t.Run("without the option", func(t *testing.T) {
		t.Parallel()
		p := launch(t, script("v1.4.0"))
		if security := p.Info().Security; security != handshake.SecurityMTLS {
			t.Errorf("the security is %s", security)
		}
		if err := callBack(t, p); err == nil || !strings.Contains(err.Error(), "not unused") {
			t.Errorf("the call back: %v", err)
		}
	})
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			p := launch(t, script(release), host.WithoutCertificate())
			if security := p.Info().Security; security != handshake.SecurityPeerCred {
				t.Errorf("the security is %s", security)
			}
			if err := callBack(t, p); err != nil {
				t.Error(err)
			}
		})
	}
}
