//go:build unix

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// TestTemplate checks the fields of the command that the host refuses: each
// error names the option to use instead.
func TestTemplate(t *testing.T) {
	t.Parallel()
	with := func(change func(cmd *exec.Cmd)) *exec.Cmd {
		cmd := echoPlugin()
		change(cmd)
		return cmd
	}
	for _, tt := range []struct {
		name string
		cmd  *exec.Cmd
		opts []host.Option
		says []string
	}{
		{name: "nil", says: []string{"the command is nil"}},
		{name: "CommandContext", cmd: exec.CommandContext(t.Context(), "x/y"), says: []string{"exec.CommandContext", "use exec.Command", "Shutdown or Close"}},
		{name: "Stdin", cmd: with(func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader("") }), says: []string{"Stdin", "host.WithStdin"}},
		{name: "Stdout", cmd: with(func(cmd *exec.Cmd) { cmd.Stdout = os.Stderr }), says: []string{"Stdout", "host.WithStdout"}},
		{name: "Stderr", cmd: with(func(cmd *exec.Cmd) { cmd.Stderr = os.Stderr }), says: []string{"Stderr", "host.WithStderr"}},
		{name: "started", cmd: with(func(cmd *exec.Cmd) { cmd.Process = &os.Process{} }), says: []string{"was already started"}},
		{
			name: "handshake variable", cmd: with(func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "PLUGIN_CLIENT_CERT=x") }),
			says: []string{"sets PLUGIN_CLIENT_CERT in its environment", "use the host's options"},
		},
		{name: "own variable", cmd: with(func(cmd *exec.Cmd) { cmd.Env = []string{"PLUGWIRE_ANYTHING=x"} }), says: []string{"sets PLUGWIRE_ANYTHING"}},
		{
			name: "cookie", cmd: with(func(cmd *exec.Cmd) { cmd.Env = []string{"MY_APP=x"} }), opts: []host.Option{host.WithCookie("MY_APP", "please")},
			says: []string{"sets MY_APP in its environment"},
		},
		{name: "foreign group", cmd: with(func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: 1} }), says: []string{"SysProcAttr.Pgid", "a process group of its own"}},
		{name: "in the foreground", cmd: with(func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Foreground: true} }), says: []string{"SysProcAttr.Foreground", "a session of its own"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assertSays(t, startError(testContext(t), t, tt.cmd, tt.opts...).Error(), tt.says...)
		})
	}
}

// TestOptions checks options that the host refuses.
func TestOptions(t *testing.T) {
	t.Parallel()
	other := protocol.New("other", 1, &echopb.Echo_ServiceDesc)
	for _, tt := range []struct {
		name string
		opt  host.Option
		says []string
	}{
		{name: "protocols of two families", opt: host.WithProtocols(echopb.EchoProtocol, other), says: []string{"plugwire.e2e", "other"}},
		{name: "nil transport", opt: host.WithTransports(nil), says: []string{"a transport is nil"}},
		{name: "no transport", opt: host.WithTransports(), says: []string{"go get github.com/plugwire/plugwire/transport/unix", `import "github.com/plugwire/plugwire/transport/unix"`, "host.WithTransports(unix.New())"}},
		{name: "nil logger", opt: host.WithLogger(nil), says: []string{"host.WithLogger"}},
		{name: "start timeout", opt: host.WithStartTimeout(0), says: []string{"host.WithStartTimeout(0s)"}},
		{name: "message size", opt: host.WithMaxMessageSize(-1), says: []string{"host.WithMaxMessageSize(-1)"}},
		{name: "no protocols", opt: host.WithProtocols(), says: []string{"host.WithProtocols: no protocol given"}},
		{name: "cookie", opt: host.WithCookie("", "x"), says: []string{"host.WithCookie"}},
		{name: "cookie of two", opt: host.WithCookie("A=B", "x"), says: []string{`host.WithCookie: "A=B" is not a valid environment variable name`}},
		{name: "TLS", opt: host.WithTLSConfig(nil), says: []string{"host.WithTLSConfig"}},
		{name: "trace", opt: host.WithTrace(nil), says: []string{"host.WithTrace"}},
		{name: "runner", opt: host.WithRunner(nil), says: []string{"host.WithRunner"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startError(testContext(t), t, echoPlugin(), tt.opt)
			assertSays(t, e.Error(), append(tt.says, "did not start (prepare)")...)
		})
	}
	t.Run("no protocol", func(t *testing.T) {
		t.Parallel()
		_, err := host.Launch(testContext(t), echoPlugin())
		if err == nil {
			t.Fatal("the plugin started")
		}
		assertSays(t, err.Error(), "no protocol given", "host.WithProtocols")
	})
}

// TestTemplateIsReusable launches one command several times at once.
func TestTemplateIsReusable(t *testing.T) {
	t.Parallel()
	cmd := echoPlugin()
	pids := map[int]bool{}
	for range 3 {
		pids[launch(t, cmd).Info().PID] = true
	}
	if len(pids) != 3 || cmd.Process != nil || cmd.Env != nil || cmd.Stdout != nil || cmd.ExtraFiles != nil {
		t.Errorf("%d processes; the template is now %+v", len(pids), cmd)
	}
}

// TestWhatThePluginInherits checks the environment, the working directory, the
// standard input and further files.
func TestWhatThePluginInherits(t *testing.T) {
	t.Parallel()
	pipe := func(content string) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() }) // launched or not
		return r
	}
	cmd := command("misbehave")
	cmd.Env = append(os.Environ(), "OF_THE_USER=yes")
	cmd.ExtraFiles = []*os.File{pipe("first"), pipe("second")}
	p := launch(t, cmd, host.WithStdin(pipe("input")))
	bare := launch(t, command("misbehave"))
	for _, tt := range []struct {
		p         *host.Plugin
		how, want string
	}{
		{p, "env:OF_THE_USER", "yes true"},
		{bare, "env:OF_THE_USER", " false"},
		{p, "stdin", "input"},
		{bare, "stdin", ""},
		{p, "descriptor:3", "first"},
		{p, "descriptor:4", "second"},
		{p, "env:PLUGIN_UNIX_SOCKET_GROUP", " false"},
	} {
		resp, err := echopb.NewEchoClient(tt.p).Fail(testContext(t), fail(tt.how))
		if err != nil || string(resp.GetData()) != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.how, resp.GetData(), err, tt.want)
		}
	}
}

// TestNestedHost starts a plugin that is itself a host and passes its whole
// environment on, including its own host's offer.
func TestNestedHost(t *testing.T) {
	t.Parallel()
	for _, security := range []string{handshake.SecurityPeerCred, handshake.SecurityMTLS} {
		t.Run(security, func(t *testing.T) {
			t.Parallel()
			var opts []host.Option
			if security == handshake.SecurityMTLS {
				opts = append(opts, host.WithMutualTLS())
			}
			p := launch(t, command("misbehave"), opts...)
			if p.Info().Security != security {
				t.Errorf("security %s, want %s", p.Info().Security, security)
			}
			resp, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("nest:"+echoPlugin().Path))
			if err != nil {
				t.Fatal(err)
			}
			var nested struct {
				PID      int
				Security string
			}
			if err := json.Unmarshal(resp.GetData(), &nested); err != nil {
				t.Fatal(err)
			}
			if nested.PID == 0 || nested.PID == p.Info().PID || nested.Security != handshake.SecurityPeerCred {
				t.Errorf("the nested plugin: %+v", nested)
			}
			assertGone(t, nested.PID, "")
		})
	}
}

// TestOtherUser runs the plugin as a user other than the host's.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may start a process as another user")
	}
	const nobody = 65534
	for _, opts := range [][]host.Option{nil, {host.WithMutualTLS()}} {
		cmd := command("misbehave")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		p := launch(t, cmd, opts...)
		resp, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("user"))
		if err != nil || string(resp.GetData()) != strconv.Itoa(nobody) {
			t.Errorf("security %s: user %s, %v; want %d", p.Info().Security, resp.GetData(), err, nobody)
		}
	}
}

// TestSession runs the plugin as the leader of a session, if the user asks for
// it.
func TestSession(t *testing.T) {
	t.Parallel()
	cmd := echoPlugin()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p := launch(t, cmd)
	if err := p.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(&syscall.SysProcAttr{Setsid: true}, cmd.SysProcAttr); diff != "" {
		t.Errorf("the template was changed (-want +got):\n%s", diff)
	}
}

// TestInfo checks the negotiated values in Info.
func TestInfo(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	info := p.Info()
	if info.StartDuration <= 0 || info.StartDuration > hang || info.PID <= 0 {
		t.Errorf("%+v", info)
	}
	security := handshake.SecurityPeerCred
	if !slices.Contains([]string{"linux", "darwin"}, runtime.GOOS) {
		security = handshake.SecurityMTLS
	}
	info.StartDuration, info.PID = 0, 0
	want := host.Info{Protocol: "plugwire.e2e", Version: 1, Transport: transport.ID{Name: "unix", Version: 1}, Session: "direct", Wire: "pw/1", Security: security}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("Info (-want +got):\n%s", diff)
	}
	if p.Protocol() != echopb.EchoProtocol {
		t.Errorf("Protocol = %v", p.Protocol())
	}
}

// TestVersions runs a plugin with two versions of its protocol under hosts with
// one, the other, both, and others beside them.
func TestVersions(t *testing.T) {
	t.Parallel()
	version := func(n int) *protocol.Protocol {
		return protocol.New("plugwire.e2e", n, &echopb.Echo_ServiceDesc)
	}
	for _, tt := range []struct {
		host []int
		want int
	}{{[]int{1}, 1}, {[]int{2}, 2}, {[]int{1, 2}, 2}, {[]int{2, 1}, 2}, {[]int{3, 1}, 1}, {[]int{1, 2, 3}, 2}} {
		t.Run(strings.Trim(strings.ReplaceAll(string(appendInts(nil, tt.host)), ",", " "), " "), func(t *testing.T) {
			t.Parallel()
			var versions []*protocol.Protocol
			for _, n := range tt.host {
				versions = append(versions, version(n))
			}
			p := launch(t, command("misbehave", "-protocol", "plugwire.e2e"), host.WithProtocols(versions...))
			if p.Info().Version != tt.want || p.Protocol().Version() != tt.want {
				t.Errorf("version %d, %v; want %d", p.Info().Version, p.Protocol(), tt.want)
			}
			resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload(""))
			if err != nil || string(resp.GetData()) != strconv.Itoa(tt.want) {
				t.Errorf("the handler of version %s answers, %v; want %d", resp.GetData(), err, tt.want)
			}
		})
	}
}

func appendInts(b []byte, numbers []int) []byte {
	for _, n := range numbers {
		b = append(strconv.AppendInt(b, int64(n), 10), ',')
	}
	return b
}

// TestTransportPreference checks a transport that the host prefers and the
// plugin does not have.
func TestTransportPreference(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin(), host.WithTransports(pigeon{}, unixTransport))
	if got := p.Info().Transport.String(); got != "unix/1" {
		t.Errorf("transport %s, want unix/1", got)
	}
}

// TestCookie uses a cookie of the application's own.
func TestCookie(t *testing.T) {
	t.Parallel()
	p := launch(t, command("misbehave", "-cookie", "MY_APP=please"), host.WithCookie("MY_APP", "please"))
	if err := p.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestTrace checks every hook, in order.
func TestTrace(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var events []string
	var dir, pid string
	add := func(event string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	p := launch(t, echoPlugin(), host.WithTrace(&host.Trace{
		ProcessStart:   func(e host.ProcessStartEvent) { dir = e.PrivateDir; add("start " + filepath.Base(e.Path)) },
		ProcessStarted: func(e host.ProcessStartedEvent) { pid = e.ID; add("started") },
		Answer:         func(e host.AnswerEvent) { add("answer " + e.Transport.String()) },
		Dial: func(e host.DialEvent) {
			if filepath.Dir(e.Address) != dir {
				t.Errorf("address %s is not in %s", e.Address, dir)
			}
			add("dial " + e.Transport.String())
		},
		Connected:     func(e host.ConnectedEvent) { add("connected " + errorText(e.Err)) },
		Ready:         func(e host.ReadyEvent) { add("ready " + e.Info.Protocol) },
		Stopping:      func(e host.StoppingEvent) { add("stopping " + string(e.Step)) },
		ProcessExited: func(e host.ProcessExitedEvent) { add("exited " + e.Status.String()) },
	}))
	if pid != strconv.Itoa(p.Info().PID) {
		t.Errorf("id %s, PID %d", pid, p.Info().PID)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"start echo-plugin", "started", "answer unix/1", "dial unix/1", "connected <nil>", "ready plugwire.e2e",
		"stopping ask", "exited exit code 0",
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func errorText(err error) string {
	if err == nil {
		return "<nil>"
	}
	return err.Error()
}

// TestNoDirectory starts without a directory for the private one: the error is
// about that, not about the program.
func TestNoDirectory(t *testing.T) {
	// The test is not parallel, because it changes the environment.
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "gone"))
	e := startError(testContext(t), t, echoPlugin())
	assertSays(t, e.Error(), "private directory: ", "no such file or directory: set XDG_RUNTIME_DIR or TMPDIR of the host")
}

// TestLongSocketPath uses a directory for temporary files that is too deep for
// a socket: the plugin's error says so, and what to do.
func TestLongSocketPath(t *testing.T) {
	// The test is not parallel, because it changes the environment.
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", deep)
	e := startError(testContext(t), t, echoPlugin())
	assertSays(t, e.Error(), "the plugin refused: the plugin could not listen", "bytes long, and this system allows", "TMPDIR of the host to a shorter directory")
	e = startError(testContext(t), t, onGoPlugin())
	assertSays(t, e.Error(), "the directory for its socket has a path of", "TMPDIR of the host to a shorter directory")
}
