//go:build unix

package pyvider_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// declineTLS makes their plugin serve without TLS, and their host offer none.
const declineTLS = "PLUGIN_AUTO_MTLS=false"

// theirPlugin returns the command of the plugin on pyvider-rpcplugin.
func theirPlugin(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	return script(t, append([]string{"plugin.py"}, args...), env)
}

// options returns the options that every host of ours needs, followed by opts.
func options(tb testing.TB, opts ...host.Option) []host.Option {
	tb.Helper()
	logger := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	return append([]host.Option{
		host.WithProtocols(example.DataProcessorProtocol),
		host.WithTransports(unix.New()),
		host.WithStartTimeout(hang),
		host.WithLogger(logger),
	}, opts...)
}

// stopping has what a host's trace reports about the end of a plugin.
type stopping struct {
	mu    sync.Mutex // guards the fields below
	steps []host.Step
	exit  *host.ExitStatus
}

func (s *stopping) trace() host.Option {
	return host.WithTrace(&host.Trace{
		Stopping: func(e host.StoppingEvent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.steps = append(s.steps, e.Step)
		},
		ProcessExited: func(e host.ProcessExitedEvent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.exit = &e.Status
		},
	})
}

// checkClose closes a plugin, which must end normally and leave no process.
func (s *stopping) checkClose(t *testing.T, p *host.Plugin) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.steps, []host.Step{host.StepAsk}) || s.exit == nil || *s.exit != (host.ExitStatus{}) {
		t.Errorf("steps %q and %v, want it to be asked and to exit with code 0", s.steps, s.exit)
	}
	if pid := p.Info().PID; !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("process %d is left", pid)
	}
}

// TestTheirPlugin does everything that our host does with their plugin, over
// each transport, with and without TLS.
func TestTheirPlugin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		transport transport.Transport
		args      []string
		env       []string
		opts      []host.Option
		security  string
	}{
		{name: "unix, TLS", transport: unix.New(), args: []string{"unix"}, security: handshake.SecurityMTLS},
		{name: "unix, mutual TLS", transport: unix.New(), args: []string{"unix", "verify"}, opts: []host.Option{host.WithMutualTLS()}, security: handshake.SecurityMTLS},
		{name: "unix, plain", transport: unix.New(), args: []string{"unix"}, env: []string{declineTLS}, security: handshake.SecurityPeerCred},
		{name: "tcp, TLS", transport: tcp.New(), args: []string{"tcp"}, security: handshake.SecurityMTLS},
		{name: "tcp, mutual TLS", transport: tcp.New(), args: []string{"tcp", "verify"}, security: handshake.SecurityMTLS},
		{name: "tcp, plain", transport: tcp.New(), args: []string{"tcp"}, env: []string{declineTLS}, opts: []host.Option{host.WithPlaintext()}, security: handshake.SecurityNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary.note(t, "plugwire", "pyvider", tt.name)
			require(t)
			var stop stopping
			var stdout, stderr syncBuffer
			opts := options(t, append(tt.opts, host.WithTransports(tt.transport), stop.trace(), host.WithStdout(&stdout), host.WithStderr(&stderr))...)
			p, err := host.Launch(testContext(t), theirPlugin(t, tt.args, tt.env...), opts...)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			want := transport.ID{Name: tt.transport.Name(), Version: 1}
			if info := p.Info(); info.Security != tt.security || info.Transport != want || info.Version != 1 {
				t.Errorf("%+v, want version 1 over %s with %s", info, want, tt.security)
			}
			if err := p.Ping(testContext(t)); err != nil {
				t.Errorf("Ping: %v", err)
			}
			client := example.NewDataProcessorClient(p)
			checkCalls(t, client)
			if err := process(t, client, "on purpose", "fail"); status.Code(err) != codes.Unknown || !strings.Contains(err.Error(), "on purpose") {
				t.Errorf("a handler that fails: %v, want %v and the reason", err, codes.Unknown)
			}
			const text = "a word from the plugin"
			if err := process(t, client, text, "print"); err != nil {
				t.Errorf("a handler that prints: %v", err)
			}
			for _, stream := range []*syncBuffer{&stdout, &stderr} {
				eventually(t, func() string {
					if got := stream.String(); !strings.Contains(got, text+"\n") {
						return "printed: " + got
					}
					return ""
				})
			}
			stop.checkClose(t, p)
		})
	}
}

// TestTheirPluginStops stops their plugin during a call. The plugin cuts the call
// off.
func TestTheirPluginStops(t *testing.T) {
	t.Parallel()
	require(t)
	summary.note(t, "plugwire", "pyvider", "stop during a call")
	var stop stopping
	p, err := host.Launch(testContext(t), theirPlugin(t, []string{"unix"}), options(t, stop.trace())...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ended := waiting(t, example.NewDataProcessorClient(p))
	stop.checkClose(t, p)
	if err := <-ended; status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled {
		t.Errorf("the call: %v, want %v or %v", err, codes.Unavailable, codes.Canceled)
	}
}

// TestTheirPluginCrashes ends their plugin during calls, by a signal and by its
// own exit.
func TestTheirPluginCrashes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		crash func(t *testing.T, p *host.Plugin, client example.DataProcessorClient) error
		want  host.ExitStatus
	}{
		{
			name: "killed",
			crash: func(_ *testing.T, p *host.Plugin, _ example.DataProcessorClient) error {
				return syscall.Kill(p.Info().PID, syscall.SIGKILL)
			},
			want: host.ExitStatus{Signal: "killed"},
		},
		{
			name: "exits",
			crash: func(t *testing.T, _ *host.Plugin, client example.DataProcessorClient) error {
				t.Helper()
				if err := process(t, client, "x", "exit"); !isExit(err, host.ExitStatus{Code: exitCode}) {
					return err
				}
				return nil
			},
			want: host.ExitStatus{Code: exitCode},
		},
	} {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(tt.name+", "+network, func(t *testing.T) {
				t.Parallel()
				summary.note(t, "plugwire", "pyvider", "plugin "+tt.name+", "+network)
				require(t)
				tmp := tempDir(t)
				cmd := theirPlugin(t, []string{network}, "TMPDIR="+tmp)
				p, err := host.Launch(testContext(t), cmd, options(t, host.WithTransports(unix.New(), tcp.New()))...)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				client := example.NewDataProcessorClient(p)
				ended := waiting(t, client)
				if err := tt.crash(t, p, client); err != nil {
					t.Errorf("the call that ends the plugin: %v", err)
				}
				if err := <-ended; status.Code(err) != codes.Unavailable || !isExit(err, tt.want) {
					t.Errorf("the call in flight: %v, want %v", err, tt.want)
				}
				if err := p.Close(); !isExit(err, tt.want) {
					t.Errorf("Close: %v, want %v", err, tt.want)
				}
				checkSocketLeft(t, tmp, network == "unix")
			})
		}
	}
}

// isExit reports whether an error says how the plugin ended.
func isExit(err error, want host.ExitStatus) bool {
	e, ok := errors.AsType[*host.ExitError](err)
	return ok && e.Status == want
}

// tempDir makes a directory with a short path, for sockets.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "") //nolint:usetesting // t.TempDir has a longer path
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkSocketLeft checks that their plugin has left its socket if it could not
// end normally. The socket is in the directory for temporary files, not in the
// host's. The test keeps the documentation of this behaviour true.
func checkSocketLeft(t *testing.T, tmp string, want bool) {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(tmp, "pyvider-*.sock"))
	if err != nil || (len(sockets) == 1) != want {
		t.Errorf("sockets of the plugin: %q, %v; want one: %t", sockets, err, want)
	}
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
