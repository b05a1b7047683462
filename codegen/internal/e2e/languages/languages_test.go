//go:build unix

package languages_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestOwnTests runs the tests that plugwire-gen writes.
func TestOwnTests(t *testing.T) {
	t.Parallel()
	passed := map[*language]*regexp.Regexp{
		python: regexp.MustCompile(`(?m)^Ran 7 tests in .*\n\nOK$`),
		node:   regexp.MustCompile(`(?m)^# pass 6$`),
	}
	for _, l := range languages {
		t.Run(string(l.name), func(t *testing.T) {
			t.Parallel()
			test := exec.CommandContext(testContext(t), l.test[0], l.test[1:]...)
			test.Dir = l.require(t)
			if out, err := test.CombinedOutput(); err != nil || !passed[l].Match(out) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestVersions compares the versions that a new plugin requires with those that are
// installed for these tests.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(string(l.name), func(t *testing.T) {
			t.Parallel()
			check := exec.CommandContext(testContext(t), l.versions[0], l.versions[1:]...)
			check.Dir = l.require(t)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// greet calls the service of a new plugin. Its messages look like a StringValue on the
// wire.
func greet(ctx context.Context, conn grpc.ClientConnInterface, name string) (greeting string, err error) {
	response := new(wrapperspb.StringValue)
	err = conn.Invoke(ctx, "/hello.Greeter/Greet", wrapperspb.String(name), response)
	return response.GetValue(), err
}

// checkGreet makes a call that succeeds and one that fails.
func checkGreet(t *testing.T, conn grpc.ClientConnInterface) {
	t.Helper()
	if greeting, err := greet(testContext(t), conn, "Ada"); err != nil || greeting != "Hello, Ada!" {
		t.Errorf("Greet: %q, %v", greeting, err)
	}
	_, err := greet(testContext(t), conn, "")
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "name is empty" {
		t.Errorf("Greet without a name: %v", err)
	}
}

// greeter is the protocol of a new plugin.
func greeter() *protocol.Protocol {
	return protocol.New("hello", 1, &grpc.ServiceDesc{ServiceName: "hello.Greeter"})
}

// options returns the options of hosts of ours.
func options(t *testing.T) []host.Option {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	return []host.Option{host.WithProtocols(greeter()), host.WithTransports(unix.New()), host.WithLogger(logger)}
}

// TestUnderOurHost launches a new plugin, calls it, and asks it to end.
func TestUnderOurHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		options    []host.Option
	}{
		{"peer credentials", handshake.SecurityPeerCred, nil},
		{"mutual TLS", handshake.SecurityMTLS, []host.Option{host.WithMutualTLS()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, l := range languages {
				t.Run(string(l.name), func(t *testing.T) {
					t.Parallel()
					checkUnderOurHost(t, l.plugin(l.require(t)), tt.want, tt.options...)
				})
			}
		})
	}
}

// TestCertificateByCommand launches a plugin in Python that has no package for
// certificates.
func TestCertificateByCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	plugin := python.plugin(python.require(t))
	plugin.Env = append(os.Environ(), "PYTHONPATH="+withoutCryptography(t))
	checkUnderOurHost(t, plugin, handshake.SecurityMTLS, host.WithMutualTLS())
}

// TestNoCertificate launches a plugin in Python that cannot make a certificate.
func TestNoCertificate(t *testing.T) {
	t.Parallel()
	plugin := python.plugin(python.require(t))
	plugin.Env = append(os.Environ(), "PYTHONPATH="+withoutCryptography(t), "PATH="+t.TempDir())
	p, err := host.Launch(testContext(t), plugin, append(options(t), host.WithMutualTLS())...)
	if err == nil {
		_ = p.Close()
		t.Fatal("the plugin started")
	}
	const want = "the host demands mutual TLS, for which this plugin needs the Python package cryptography or the command openssl"
	e, ok := errors.AsType[*host.StartError](err)
	if !ok || e.Exit == nil || *e.Exit != (host.ExitStatus{Code: 1}) || e.Stdout != "" || !strings.Contains(e.Stderr, want) {
		t.Errorf("%v, want exit code 1 and %q on standard error", err, want)
	}
}

// withoutCryptography returns a directory that hides Python's package for certificates.
func withoutCryptography(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cryptography.py"), []byte("raise ImportError\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkUnderOurHost launches a plugin, calls it, and asks it to end.
func checkUnderOurHost(t *testing.T, plugin *exec.Cmd, security string, more ...host.Option) {
	t.Helper()
	var mu sync.Mutex // guards the variables below
	var private string
	var steps []host.Step
	var exit *host.ExitStatus
	trace := &host.Trace{
		ProcessStart:  func(e host.ProcessStartEvent) { mu.Lock(); defer mu.Unlock(); private = e.PrivateDir },
		Stopping:      func(e host.StoppingEvent) { mu.Lock(); defer mu.Unlock(); steps = append(steps, e.Step) },
		ProcessExited: func(e host.ProcessExitedEvent) { mu.Lock(); defer mu.Unlock(); exit = &e.Status },
	}
	p, err := host.Launch(testContext(t), plugin, append(append(options(t), host.WithTrace(trace)), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want := transport.ID{Name: "unix", Version: 1}
	if info := p.Info(); info.Transport != want || info.Security != security || info.Version != 1 {
		t.Errorf("%+v, want version 1 over %s with %s", info, want, security)
	}
	checkGreet(t, p)
	if err := p.Ping(testContext(t)); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(steps, []host.Step{host.StepAsk}) || exit == nil || *exit != (host.ExitStatus{}) {
		t.Errorf("steps %q and %v, want that the plugin is asked and exits with 0", steps, exit)
	}
	if _, err := os.Lstat(private); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory %s is left: %v", private, err)
	}
}

// TestRefusals starts new plugins from hosts that they cannot serve.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, variable, want string
	}{
		{"another cookie", "PLUGIN_MAGIC_COOKIE=hello", "This is a plugin, meant to be started by its host application, which sets PLUGIN_MAGIC_COOKIE=plugwire."},
		{"another transport", "PLUGIN_TRANSPORTS=tcp", "The host offers the transports tcp. This plugin has unix."},
		{"no directory", "PLUGIN_UNIX_SOCKET_DIR=/dev/null", "Cannot listen on /dev/null/plugin-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, l := range languages {
				t.Run(string(l.name), func(t *testing.T) {
					t.Parallel()
					plugin := l.plugin(l.require(t))
					cmd := exec.Command("env", append([]string{tt.variable}, plugin.Args...)...)
					p, err := host.Launch(testContext(t), cmd, options(t)...)
					if err == nil {
						_ = p.Close()
						t.Fatal("the plugin started")
					}
					e, ok := errors.AsType[*host.StartError](err)
					if !ok || e.Exit == nil || *e.Exit != (host.ExitStatus{Code: 1}) || e.Stdout != "" || !strings.Contains(e.Stderr, tt.want) {
						t.Errorf("%v, want exit code 1 and %q on standard error", err, tt.want)
					}
				})
			}
		})
	}
}

// TestUnderGoPlugin launches a new plugin from a host on go-plugin.
func TestUnderGoPlugin(t *testing.T) {
	t.Parallel()
	for name, mutualTLS := range map[string]bool{"without TLS": false, "mutual TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, l := range languages {
				t.Run(string(l.name), func(t *testing.T) {
					t.Parallel()
					checkUnderGoPlugin(t, l.plugin(l.require(t)), mutualTLS)
				})
			}
		})
	}
}

func checkUnderGoPlugin(t *testing.T, cmd *exec.Cmd, mutualTLS bool) {
	t.Helper()
	tmp := shortDir(t)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	client := goPluginClient(cmd, t.Output(), mutualTLS)
	defer client.Kill()
	conn, err := connect(client)
	if err != nil {
		t.Fatal(err)
	}
	// A terminal sends these to the plugin too, and the host decides.
	for _, terminal := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if err := cmd.Process.Signal(terminal); err != nil {
			t.Fatal(err)
		}
	}
	checkGreet(t, conn)
	rpc, err := client.Client()
	if err == nil {
		err = rpc.Ping()
	}
	if err != nil {
		t.Errorf("Ping: %v", err)
	}
	client.Kill()
	if state := cmd.ProcessState; state == nil || !state.Success() {
		t.Errorf("%v, want exit code 0", state)
	}
	if left, err := filepath.Glob(tmp + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestHostDiesAtTheStart starts a plugin whose output nobody reads, as when the host dies
// before the plugin answers.
func TestHostDiesAtTheStart(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(string(l.name), func(t *testing.T) {
			t.Parallel()
			plugin := l.plugin(l.require(t))
			cmd := exec.CommandContext(testContext(t), plugin.Path, plugin.Args[1:]...)
			tmp := shortDir(t)
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, handshake.DefaultCookieName+"="+handshake.DefaultCookieValue)
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout, cmd.Stderr = writer, writer
			err = errors.Join(reader.Close(), cmd.Start(), writer.Close())
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%v, want exit code 1", err)
			}
			if left, err := filepath.Glob(tmp + "/*"); err != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

// TestHostKilled kills hosts, which then cannot end their plugins.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plugwire", "go-plugin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, l := range languages {
				t.Run(string(l.name), func(t *testing.T) {
					t.Parallel()
					tmp := shortDir(t)
					pid := killHost(t, name, l.require(t), l, tmp)
					eventually(t, func() string {
						if runs(pid) {
							return "the plugin lives on"
						}
						return ""
					})
					// The kernel may end a plugin with its host of ours, before it can remove
					// its socket. The next host does that.
					if left, err := filepath.Glob(tmp + "/*"); name == "go-plugin" && (err != nil || len(left) > 0) {
						t.Errorf("left behind: %q, %v", left, err)
					}
				})
			}
		})
	}
}
