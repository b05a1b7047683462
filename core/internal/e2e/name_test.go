//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// TestName starts two plugins of one program, which differ only by their names.
func TestName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"east", "west 2"} {
		logger, book := newJournal(t, 0)
		var targets []string
		p := launch(t, command("misbehave"), host.WithName(name), host.WithLogger(logger), host.WithInterceptors(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				targets = append(targets, cc.Target())
				return invoker(ctx, method, req, reply, cc, opts...)
			}, nil))
		if got := p.Name(); got != name {
			t.Errorf("the name is %q, want %q", got, name)
		}
		assertEcho(t, p)
		if len(targets) != 1 || !strings.HasSuffix(targets[0], "///"+strings.ReplaceAll(name, " ", "%20")) {
			t.Errorf("interceptors see %q", targets)
		}
		_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("crash"))
		exit := asExit(t, err)
		if exit.Name != name {
			t.Errorf("the ExitError has the name %q", exit.Name)
		}
		says := []string{"plugin " + name + " (" + binDir, "misbehave, process " + strconv.Itoa(p.Info().PID) + ") "}
		assertSays(t, err.Error(), says...)
		waitFor(t, "the end", p.Done())
		_, err = echopb.NewEchoClient(p).Unary(testContext(t), payload("x"))
		assertSays(t, err.Error(), says...)
		_, err = p.OpenStream(testContext(t), "s")
		assertSays(t, err.Error(), says...)
		r := book.await(t, "panic: crashed on demand")
		if r.text("plugin") != name || r.text("pid") != strconv.Itoa(p.Info().PID) {
			t.Errorf("record of plugin %q, process %q", r.text("plugin"), r.text("pid"))
		}
	}
}

// TestNameAfterClose checks the error of a call that the host's Close ends.
func TestNameAfterClose(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin(), host.WithName("mine"))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("x"))
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v is not net.ErrClosed", err)
	}
	assertSays(t, err.Error(), "plugin mine (", "was stopped by its host")
	_, err = p.AcceptStream(testContext(t), "s")
	assertSays(t, err.Error(), "plugin mine (", "was stopped by its host")
}

// TestNameInStartError checks that errors of starts have the name, also those
// of options.
func TestNameInStartError(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]host.Option{
		options(t, host.WithName("mine")),
		{host.WithName("mine")},
		options(t, host.WithPortRange(2, 1), host.WithName("mine")),
	} {
		_, err := host.Launch(testContext(t), exec.Command("/no/such/plugin"), opts...)
		var start *host.StartError
		if !errors.As(err, &start) || start.Name != "mine" {
			t.Errorf("%v has not the name", err)
		}
		assertSays(t, err.Error(), "plugin mine (/no/such/plugin) did not start")
	}
	_, err := host.Launch(testContext(t), exec.Command("/no/such/plugin.exe"), options(t)...)
	var start *host.StartError
	if !errors.As(err, &start) || start.Name != "plugin" {
		t.Errorf("the name of the program: %+v", start)
	}
	_, err = host.Attach(testContext(t), handshake.AttachInfo{}, options(t, host.WithName("mine"))...)
	assertSays(t, err.Error(), "plugin mine (")
}

// TestNamesOfAttachedPlugins launches with an environment that tells by name which of
// two plugins of one protocol is running.
func TestNamesOfAttachedPlugins(t *testing.T) {
	b := debug(t, echoPlugin())
	var entries map[string]json.RawMessage
	if err := json.Unmarshal([]byte(b.value()), &entries); err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(map[string]json.RawMessage{"second": entries[b.info().Protocol]})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(negotiation.EnvAttach, string(value))
	first := launch(t, echoPlugin(), host.WithName("first"))
	assertEcho(t, first)
	if first.Info().PID == b.cmd.Process.Pid {
		t.Error("attached to the plugin of another name")
	}
	logger, book := newJournal(t, slog.LevelWarn)
	second, err := host.Launch(testContext(t), exec.Command("no-such-plugin"), options(t, host.WithName("second"), host.WithLogger(logger))...)
	if err != nil {
		t.Fatal(err)
	}
	if second.Info().PID != b.cmd.Process.Pid || second.Name() != "second" {
		t.Errorf("%+v, want process %d", second.Info(), b.cmd.Process.Pid)
	}
	if r, ok := book.find("attaching to a plugin that runs already, instead of launching one"); !ok || r.text("plugin") != "second" {
		t.Errorf("the record is %+v", r)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	b.stop(os.Interrupt)
}

// TestAttachByProtocol checks an entry that names a protocol: it is for plugins of
// one name.
func TestAttachByProtocol(t *testing.T) {
	b := debug(t, echoPlugin())
	t.Setenv(negotiation.EnvAttach, b.value())
	for range 2 { // a host may start the same plugin again
		p, err := host.Launch(testContext(t), exec.Command("no-such-plugin"), options(t, host.WithName("debugged"))...)
		if err != nil {
			t.Fatal(err)
		}
		assertEcho(t, p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := host.Launch(testContext(t), echoPlugin(), options(t, host.WithName("another"))...)
	assertStartFails(t, err, host.PhasePrepare, "PLUGWIRE_ATTACH names protocol "+b.info().Protocol, "plugins debugged and another")

	logger, book := newJournal(t, slog.LevelWarn)
	p := launch(t, echoPlugin(), host.WithName("another"), host.WithoutAttach(), host.WithLogger(logger))
	if p.Info().PID == b.cmd.Process.Pid {
		t.Error("attached, against host.WithoutAttach")
	}
	assertEcho(t, p)
	if r, ok := book.find("attaching to a plugin that runs already, instead of launching one"); ok {
		t.Errorf("it says that it attaches: %+v", r)
	}
	b.stop(os.Interrupt)
}

// TestHostsLog prints hostile lines from a real plugin: each is one line of the host's
// own log, and begins with the plugin's name and process.
func TestHostsLog(t *testing.T) {
	t.Parallel()
	forge := "all is well\n12:00:00.000 INF plugin=host pid=1 \u202eforged\u2028\x1b[2K\tend"
	text, err := json.Marshal(forge)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		`{"level":"warn","message":` + string(text) + `,"plugin":"host","pid":1,"level":"info",` + string(text) + `:` + string(text) + `}`,
		`level=warn msg=` + strconv.Quote(forge) + ` plugin=host pid=1`,
		`WARN[0001] ` + strings.ReplaceAll(forge, "\n", "\r"),
	}
	for form, output := range map[string]func(*os.File, slog.Level) *slog.Logger{"JSON": logs.Default, "console": logs.ForPeople} {
		path := filepath.Join(t.TempDir(), "log")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := launch(t, command("misbehave"), host.WithName("mine"), host.WithLogger(output(f, slog.LevelWarn)))
		if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("stderr:"+strings.Join(lines, "\n")+"\n")); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		if len(got) != len(lines) {
			t.Fatalf("%d lines became %d in the form %s:\n%s", len(lines), len(got), form, data)
		}
		for _, line := range got {
			level, head := " WRN ", fmt.Sprintf(" plugin=mine pid=%d ", p.Info().PID)
			if form == "JSON" {
				level, head = `{"level":"warn",`, fmt.Sprintf(`,"plugin":"mine","pid":"%d","message":"`, p.Info().PID)
			}
			before, _, ok := strings.Cut(line, head)
			if !ok || len(before) > 70 || !strings.Contains(before+" ", level) {
				t.Errorf("%q does not begin with %q and %q", line, level, head)
			}
			if strings.ContainsAny(line, "\u202e\u2028\x1b\t\r") || strings.Count(line, `"plugin":`) > 1 || strings.Count(line, `"level":`) > 1 {
				t.Errorf("%q is not read as it is written", line)
			}
		}
	}
}
