//go:build linux

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/plugintest"
)

// The tests of the defects that hashicorp/go-plugin 1.8.0 has, which were all
// reproduced with it or read in its source. Most use the same plugin, which is
// built on go-plugin. Further tests check the same with our plugins, and in
// more ways.
//
//	D1   Kill of a stuck plugin              TestD01_KillOfAStuckPlugin; TestShutdownOfStoppedProcess
//	D2   a descendant holds the output       TestD02_DescendantHoldsTheOutput; TestChildrenEndWithThePlugin
//	D3   the host is killed                  TestD03_HostKilled, TestD03_GoPluginKilled; TestHostKilled
//	D4   an unexpected certificate           TestD04_UnexpectedCertificate
//	D5   hostile log lines                   TestD05_HostileLogLines; FuzzParse in core/internal/logs
//	D6   inherited variables                 TestD06_InheritedVariables; TestNestedHost
//	D7   a long line on stdout               TestD07_LongLineOnStdout; TestLongLines
//	D8   a message limit on one side         TestD08_LargeMessages; TestMessageSize
//	D9   sockets of the multiplexed mode     TestD09_Sockets; the check "kill" of interop/goplugin
//	D10  a late dial by the broker           TestD10LateDial in core/internal/goplugin/broker
//	D11  a second start                      TestD11_SecondStart; TestTemplateIsReusable
//	D12  exit code of a plugin that fails    TestD12_ExitCodeOfAFailedStart
//	D13  calls in flight                     TestD13_CallsInFlight
//	D14  no contexts                         TestD14_ExpiredContexts; TestStartIsBoundedByItsContext
//	D15  attaching                           TestD15_OutlivesItsHost; the check "reattach" of interop/goplugin; TestAttach
//	D16  no broker, a lost acceptor          TestD16NoLink, TestD16LostAcceptor in core/internal/goplugin/broker
//	D17  knocking again                      TestD17KnocksAgain there
//	D18  a failed connection                 TestD18_FailedConnection; TestStartErrors
//	D19  a file that changes                 TestD19_FileThatChanges
//	D20  the tail of the output              TestD20_TailOfTheOutput; the check "tail" of interop/goplugin
//	D21  global state                        TestD21_NoGlobalState
//	D22  levels of log lines                 TestD22_LevelsOfLogLines; TestLevelsAndFields, TestLinesOfLoggers

// scripted returns the command of a script that runs the plugin as "$0" "$@".
func scripted(script string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", script}, onGoPlugin().Args...)...)
}

// assertAlive checks that the plugin answers.
func assertAlive(tb testing.TB, p *host.Plugin) {
	tb.Helper()
	if resp, err := echopb.NewEchoClient(p).Unary(testContext(tb), payload("alive")); err != nil || string(resp.GetData()) != "alive" {
		tb.Errorf("a call: %q, %v", resp.GetData(), err)
	}
}

// In go-plugin, Kill asks a plugin to end and waits for its answer without a
// bound.
func TestD01_KillOfAStuckPlugin(t *testing.T) {
	t.Parallel()
	var taken steps
	p := launch(t, onGoPlugin(), taken.trace())
	stopProcess(t, p.Info().PID)
	took, err := shutdown(p, 200*time.Millisecond)
	if exit, ok := errors.AsType[*host.ExitError](err); !ok || exit.Step != host.StepKill || exit.Status != (host.ExitStatus{Signal: "killed"}) {
		t.Errorf("Shutdown = %v, want an ExitError with step kill", err)
	}
	if took > prompt {
		t.Errorf("Shutdown took %v", took)
	}
	taken.assert(t, host.StepAsk, host.StepTerminate, host.StepKill)
}

// In go-plugin, Kill waits without a bound for the end of the output, which
// another process may hold open.
func TestD02_DescendantHoldsTheOutput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		outlives     bool // the host must not kill it
	}{
		{name: "in its group", script: `sleep 1000 & echo $! >&2; exec "$0" "$@"`},
		{name: "in another session", script: `setsid sleep 1000 & echo $! >&2; exec "$0" "$@"`, outlives: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stderr lockedBuffer
			p := launch(t, scripted(tt.script), host.WithStderr(&stderr))
			var line string
			eventually(t, hang, func() string { // a stream other than the answer's
				var ended bool
				if line, _, ended = strings.Cut(stderr.String(), "\n"); !ended {
					return "the script has not said which process it is"
				}
				return ""
			})
			pid := atoi(t, line)
			if tt.outlives {
				awaitOwnGroup(t, pid)
			}
			began := time.Now()
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if took := time.Since(began); took > unhurried {
				t.Errorf("Close took %v", took)
			}
			if tt.outlives {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Errorf("the process that has left the group: %v", err)
				}
			} // otherwise launch checks that the group is gone
		})
	}
}

// In go-plugin, a plugin outlives a host that is killed, and so does its socket.
func TestD03_HostKilled(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	h := startHost(t, place, append([]string{"hold"}, onGoPlugin().Args...)...)
	h.awaitWord("ready")
	if len(place.files()) == 0 {
		t.Fatal("the plugin's socket is not where it is looked for")
	}
	killHost(t, h.cmd)
	eventually(t, goneWithin, place.leftRunning)
	runOnce(t, place, nil) // the next host removes the socket
	if left := place.left(); left != "" {
		t.Errorf("left after the next host: %s", left)
	}
}

// holdGoPlugin starts a host on go-plugin, which launches a plugin and keeps it
// until the host is killed.
func holdGoPlugin(t *testing.T, place *place, plugin string) (kill func()) {
	t.Helper()
	h := command("goplugin-peer", "host", "-hold", plugin)
	h.Env = place.env()
	stdin, err := h.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := h.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Errorf("the host printed %q: %v", line, err)
	}
	if len(place.processes()) < 2 || len(place.files()) == 0 {
		t.Errorf("processes %v, files %q: the plugin is not where it is looked for", place.processes(), place.files())
	}
	return func() {
		if err := h.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = h.Wait()      // the error is that of the kill
		_ = stdin.Close() // the error is that of the kill
	}
}

// Our plugin notices that a host on go-plugin was killed. It can notice this
// only by the pipes that it prints to.
func TestD03_GoPluginKilled(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	kill := holdGoPlugin(t, place, echoPlugin().Path)
	kill()
	eventually(t, goneWithin, place.left)
}

// A plugin with the option to outlive a host on go-plugin does so, printing or
// not, and the next host attaches to it and ends it.
func TestD15_OutlivesItsHost(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	script := writeProgram(t, []byte("#!/bin/sh\nexec "+command("misbehave").Path+" -outlives\n"))
	kill := holdGoPlugin(t, place, script)
	kill()
	running := place.processes()
	sockets := place.files()
	if len(running) != 1 || len(sockets) != 1 {
		t.Fatalf("processes %v, files %q: the plugin is not there any more", running, sockets)
	}
	info := fmt.Sprintf(`{"Protocol":"grpc","ProtocolVersion":1,"Pid":%d,"Addr":{"Network":"unix","String":%q}}`, running[0], sockets[0])
	for _, how := range []string{"print", "log"} { // to pipes without a reader
		attached, err := handshake.ParseAttachInfo(info)
		if err != nil {
			t.Fatal(err)
		}
		attached.Stays = true
		p, err := host.Attach(testContext(t), attached, options(t)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail(how)); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if out := run(t, command("goplugin-peer", "reattach", info)); !strings.Contains(out, "go-plugin called process") {
		t.Errorf("output %q", out)
	}
	eventually(t, goneWithin, place.left)
}

// In go-plugin, calls in flight are cut off when the host ends the plugin, and a
// plugin has only two seconds to end.
func TestD13_CallsInFlight(t *testing.T) {
	t.Parallel()
	if out := run(t, command("goplugin-peer", "host", "-drain", echoPlugin().Path)); !strings.HasSuffix(out, "drained\n") {
		t.Errorf("output %q", out)
	}
}

// In go-plugin, a certificate from a plugin that was not asked for one ends the
// host, by a nil pointer.
func TestD04_UnexpectedCertificate(t *testing.T) {
	t.Parallel()
	_, ownTLS := ownCertificate(t)
	valid := base64.RawStdEncoding.EncodeToString(ownTLS.Certificates[0].Certificate[0])
	for _, tt := range []struct {
		name  string
		field string
		opts  []host.Option
		phase host.Phase
		code  handshake.Code // empty if the certificate is not the cause
	}{
		{name: "valid, and not asked for", field: valid, opts: []host.Option{host.WithTLSConfig(ownTLS)}, phase: host.PhaseConnect},
		{name: "nonsense, and not asked for", field: strings.Repeat("QUJD", 20), opts: []host.Option{host.WithTLSConfig(ownTLS)}, phase: host.PhaseHandshake, code: handshake.CodeSecurity},
		{name: "half of a certificate", field: valid[:len(valid)/8*4], phase: host.PhaseHandshake, code: handshake.CodeSecurity},
		{name: "valid, with padding", field: valid + "==", phase: host.PhaseConnect},
		{name: "too short to be meant", field: strings.Repeat("A", 50), phase: host.PhaseConnect},
		{name: "just long enough", field: strings.Repeat("A", 51), phase: host.PhaseHandshake, code: handshake.CodeSecurity},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startError(testContext(t), t, shell("echo '1|1|unix|/no/such/socket|grpc|"+tt.field+"'"+asleep), tt.opts...)
			if e.Phase != tt.phase {
				t.Errorf("phase %s, want %s: %v", e.Phase, tt.phase, e)
			}
			if mismatch, ok := errors.AsType[*handshake.Error](e); ok != (tt.code != "") || ok && mismatch.Code != tt.code {
				t.Errorf("%v, want code %q", e, tt.code)
			}
		})
	}
}

// In go-plugin, a host that is itself a plugin passes its own host's variables
// to its plugins, and then crashes or does not understand their answers.
func TestD06_InheritedVariables(t *testing.T) {
	file, _ := ownCertificate(t)
	certificate, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inherited := map[string]string{
		negotiation.EnvClientCert:  string(certificate),
		negotiation.EnvMultiplex:   "true",
		negotiation.EnvSocketDir:   "/no/such/directory",
		negotiation.EnvSocketGroup: "no such group",
		negotiation.EnvVersions:    "99",
		negotiation.EnvTransports:  "carrier-pigeon",
		negotiation.EnvMinPort:     "1",
		negotiation.EnvMaxPort:     "1",
		negotiation.EnvOffer:       "instance=of another host|!future=yes",
	}
	for name, value := range inherited {
		t.Setenv(name, value)
	}
	p := launch(t, onGoPlugin())
	if info := p.Info(); info.Security != handshake.SecurityMTLS || info.Version != 1 {
		t.Errorf("%+v, want version 1 with mtls", info)
	}
	assertAlive(t, p)
	// Variables about which this host has no value do not reach a plugin at
	// all.
	seen := launch(t, command("misbehave"))
	for name, value := range inherited {
		resp, err := echopb.NewEchoClient(seen).Fail(testContext(t), fail("env:"+name))
		if err != nil || strings.HasPrefix(string(resp.GetData()), value+" ") {
			t.Errorf("%s is %q, %v", name, resp.GetData(), err)
		}
	}
}

// In go-plugin, a plugin refuses a message of more than 4 MiB, though its host
// sends it.
func TestD08_LargeMessages(t *testing.T) {
	t.Parallel()
	t.Run("our plugin under go-plugin", func(t *testing.T) {
		t.Parallel()
		if out := run(t, command("goplugin-peer", "host", "-large", echoPlugin().Path)); !strings.Contains(out, "mutual TLS false") {
			t.Errorf("output %q", out)
		}
	})
	t.Run("ours on both sides", func(t *testing.T) {
		t.Parallel()
		large := bytes.Repeat([]byte("x"), 8<<20)
		resp, err := echopb.NewEchoClient(launch(t, echoPlugin())).Unary(testContext(t), &echopb.Payload{Data: large})
		if err != nil || !bytes.Equal(resp.GetData(), large) {
			t.Errorf("%d bytes, %v; want %d", len(resp.GetData()), err, len(large))
		}
	})
	t.Run("go-plugin's plugin under our host", func(t *testing.T) {
		t.Parallel()
		p := launch(t, onGoPlugin())
		_, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{Data: make([]byte, 8<<20)})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%v, want %v", err, codes.ResourceExhausted)
		}
		assertAlive(t, p)
	})
}

// In go-plugin, the socket of a plugin stays when the plugin has ended normally in the
// multiplexed mode, and whenever it was killed.
func TestD09_Sockets(t *testing.T) {
	t.Parallel()
	t.Run("our plugin under go-plugin", func(t *testing.T) {
		t.Parallel()
		place := newPlace(t)
		h := command("goplugin-peer", "host", "-mux", echoPlugin().Path)
		h.Env = place.env()
		if out, err := h.CombinedOutput(); err != nil || !strings.Contains(string(out), "mutual TLS false") {
			t.Errorf("%v, output %q", err, out)
		}
		if left := place.left(); left != "" {
			t.Errorf("left behind: %s", left)
		}
	})
	t.Run("our plugin, terminated", func(t *testing.T) {
		t.Parallel()
		place := newPlace(t)
		kill := holdGoPlugin(t, place, echoPlugin().Path)
		defer kill()
		plugin := slices.IndexFunc(place.processes(), func(pid int) bool {
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			return exe == echoPlugin().Path
		})
		if plugin < 0 {
			t.Fatalf("no plugin among %s", place.leftRunning())
		}
		if err := syscall.Kill(place.processes()[plugin], syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, hang, func() string { return strings.Join(place.files(), " ") })
	})
	for name, end := range map[string]func(p *host.Plugin) error{
		"go-plugin's plugin under our host":         (*host.Plugin).Close,
		"go-plugin's plugin under our host, killed": func(p *host.Plugin) error { return syscall.Kill(p.Info().PID, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := onGoPlugin()
			// The plugin replaces os.Stderr (D21) while its multiplexer reads it. The
			// race detector would end it with another exit code for that.
			cmd.Env = append(os.Environ(), "GORACE=exitcode=0 atexit_sleep_ms=0")
			p := launch(t, cmd, host.WithMultiplex())
			assertAlive(t, p)
			if err := end(p); err != nil {
				t.Error(err)
			}
			waitFor(t, "the end of the plugin", p.Done()) // launch checks that nothing is left
		})
	}
}

// In go-plugin, what a plugin prints at its end may be lost.
func TestD20_TailOfTheOutput(t *testing.T) {
	t.Parallel()
	const size = 32 << 10 // the output of the shutdown function
	plugin := command("misbehave", "-hooks", "print")
	t.Run("our plugin under go-plugin", func(t *testing.T) {
		t.Parallel()
		args := append([]string{"tail", strconv.Itoa(size)}, plugin.Args...)
		if out := run(t, command("goplugin-peer", args...)); !strings.HasSuffix(out, "the tail arrived\n") {
			t.Errorf("output %q", out)
		}
	})
	t.Run("ours on both sides", func(t *testing.T) {
		t.Parallel()
		var stdout, stderr lockedBuffer
		p := launch(t, plugin, host.WithStdout(&stdout), host.WithStderr(&stderr))
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for letter, got := range map[string]string{"o": stdout.String(), "e": stderr.String()} {
			if want := strings.Repeat(letter, size-1) + "\n"; !strings.Contains(got, want) {
				t.Errorf("%d bytes came, without the last %d", len(got), size)
			}
		}
	})
}

// In go-plugin, a client whose start has failed cannot be started again.
func TestD11_SecondStart(t *testing.T) {
	t.Parallel()
	flag := filepath.Join(t.TempDir(), "tried")
	cmd := scripted(`mkdir "` + flag + `" && exit 3; exec "$0" "$@"`)
	e := startError(testContext(t), t, cmd)
	if exitText(e) != "exit code 3" {
		t.Errorf("%v, want exit code 3", e)
	}
	assertAlive(t, launch(t, cmd))
}

// In go-plugin, a plugin that cannot listen exits with code 0, and one that
// cannot read its host's certificate serves without TLS.
func TestD12_ExitCodeOfAFailedStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, variable, says string }{
		{"nowhere to listen", negotiation.EnvSocketDir + "=/no/such/directory", "/no/such/directory"},
		{"bad certificate", negotiation.EnvClientCert + "=none", "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := echoPlugin()
			cmd.Env = append(os.Environ(), handshake.DefaultCookieName+"="+handshake.DefaultCookieValue, negotiation.EnvVersions+"=1", tt.variable)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
				t.Errorf("the plugin ended with %v, want exit code 1", err)
			}
			assertSays(t, stderr.String(), tt.says)
			if stdout.Len() > 0 {
				t.Errorf("it answered %q", &stdout)
			}
		})
	}
}

// In go-plugin, neither Start nor Ping nor Kill takes a context.
func TestD14_ExpiredContexts(t *testing.T) {
	t.Parallel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if e := startError(expired, t, onGoPlugin()); e.Phase != host.PhasePrepare || !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("Launch: %v", e)
	}
	// A stopped process would never answer a request.
	p := launch(t, onGoPlugin())
	stopProcess(t, p.Info().PID)
	if err := p.Ping(expired); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("Ping: %v", err)
	}
	began := time.Now()
	if err := p.Shutdown(expired); err == nil {
		t.Error("Shutdown = nil for a plugin that was killed")
	}
	if took := time.Since(began); took > unhurried { // the host waits after SIGTERM
		t.Errorf("Shutdown took %v", took)
	}
}

// In go-plugin, the process keeps running if the host cannot connect to it.
func TestD18_FailedConnection(t *testing.T) {
	t.Parallel()
	// The plugin demands TLS, and the answer no longer says so.
	cmd := scripted(`"$0" "$@" | sed -u 's/|grpc|.*/|grpc|/'`)
	e := startError(testContext(t), t, cmd) // startError checks that the process and its group are gone
	if e.Phase != host.PhaseConnect {
		t.Errorf("phase %s, want %s: %v", e.Phase, host.PhaseConnect, e)
	}
}

// In go-plugin, all clients of a process are stopped by one function, and
// serving a plugin replaces its standard output and error.
func TestD21_NoGlobalState(t *testing.T) {
	stdout, stderr := os.Stdout, os.Stderr
	start := func() *host.Plugin {
		return plugintest.Start(t, echopb.ServeEcho(echo.Handler{}), unixTransport)
	}
	first, second := start(), start()
	if os.Stdout != stdout || os.Stderr != stderr {
		t.Error("a plugin has replaced the standard output or error")
	}
	health := func(p *host.Plugin, serving bool) {
		t.Helper()
		if err := p.Ping(testContext(t)); (err == nil) != serving {
			t.Errorf("Ping: %v, want serving %t", err, serving)
		}
	}
	if _, err := echopb.NewEchoClient(first).Fail(testContext(t), fail("not serving")); err != nil {
		t.Fatal(err)
	}
	health(first, false)
	health(second, true)
	if err := first.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	third := start()
	for _, p := range []*host.Plugin{second, third} {
		health(p, true)
		assertAlive(t, p)
	}
}
