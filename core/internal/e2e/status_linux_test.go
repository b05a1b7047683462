package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/supervise"
)

// statusPlugin is what the tests read of a plugin.
type statusPlugin struct {
	Name, State, Error string
	PID                int
	Supervised         bool
	Starts, Restarts   int
	Info               *struct{ Transport, Wire, Security string }
	Calls              struct {
		Begun, Ended uint64
		Errors       map[string]uint64
		Durations    [][2]uint64
	}
}

// statusSocket returns the status socket of this process.
func statusSocket(tb testing.TB) string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), fmt.Sprintf("plugwire-%d", os.Geteuid()), fmt.Sprintf("%d-*.sock", os.Getpid())))
	if err != nil || len(paths) != 1 {
		tb.Fatalf("sockets %v, %v; want one", paths, err)
	}
	return paths[0]
}

// statusGet reads a path of the status socket of this process.
func statusGet(tb testing.TB, path string) []byte {
	tb.Helper()
	socket := statusSocket(tb)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	resp, err := (&http.Client{Transport: transport, Timeout: hang}).Get("http://plugwire" + path)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("%s, %v: %s", resp.Status, err, b)
	}
	return b
}

// statusOf returns what the status socket says about a plugin of this process.
func statusOf(tb testing.TB, name string) statusPlugin {
	tb.Helper()
	var report struct {
		Version int
		Plugins []statusPlugin
	}
	if err := json.Unmarshal(statusGet(tb, "/v1/plugins"), &report); err != nil || report.Version != 1 {
		tb.Fatalf("version %d, %v", report.Version, err)
	}
	for _, p := range report.Plugins {
		if p.Name == name {
			return p
		}
	}
	tb.Fatalf("no plugin %s in %+v", name, report.Plugins)
	return statusPlugin{}
}

// awaitStatus waits until the status of a plugin is as ok wants it.
func awaitStatus(tb testing.TB, name string, ok func(statusPlugin) bool) statusPlugin {
	tb.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); ; <-poll.C {
		p := statusOf(tb, name)
		if ok(p) {
			return p
		}
		if time.Now().After(deadline) {
			tb.Fatalf("after %v the status is %+v", hang, p)
		}
	}
}

// awaitStatusLog waits until the log of this process has a text, and returns the log.
func awaitStatusLog(tb testing.TB, text string) string {
	tb.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); ; <-poll.C {
		log := string(statusGet(tb, "/v1/logs"))
		if strings.Contains(log, text) {
			return log
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the log has no %q after %v:\n%s", text, hang, log)
		}
	}
}

// The status has what a plugin logs, even if the host's own logger discards everything.
func TestStatusOfAQuietHost(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin(), host.WithName("status-quiet"), host.WithStatus(), host.WithLogger(slog.New(slog.DiscardHandler)))
	if _, err := echopb.NewEchoClient(p).Fail(testContext(t), &echopb.FailRequest{How: "log"}); err != nil {
		t.Fatal(err)
	}
	awaitStatusLog(t, `"level":"WARN","msg":"a word from the handler","plugin":"status-quiet","pid":`+strconv.Itoa(p.Info().PID))
}

// The status counts calls of all kinds, over each wire, and none of the framework's own.
func TestStatusCounts(t *testing.T) {
	t.Parallel()
	for wire, name := range map[string]string{"h2": "counted-h2", "pw/1": "counted-pw"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, echoPlugin(), host.WithName(name), host.WithWire(wire), host.WithStatus())
			ctx, client := testContext(t), echopb.NewEchoClient(p)
			if err := p.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := client.Unary(ctx, &echopb.Payload{}); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = client.Fail(ctx, &echopb.FailRequest{How: "status"})
			down, err := client.Download(ctx, &echopb.DownloadRequest{Count: 2})
			for err == nil {
				_, err = down.Recv()
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			up, err := client.Upload(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := up.CloseAndRecv(); err != nil {
				t.Fatal(err)
			}
			chat, err := client.Chat(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := exchangeOnce(chat); err != nil {
				t.Fatal(err)
			}
			s := statusOf(t, name)
			if s.State != "ready" || s.PID != p.Info().PID || s.Starts != 1 || s.Info.Wire != wire || s.Info.Security != "peercred" {
				t.Errorf("%+v", s)
			}
			if s.Calls.Begun != 7 || s.Calls.Ended != 6 || len(s.Calls.Errors) != 1 || s.Calls.Errors["FailedPrecondition"] != 1 {
				t.Errorf("calls %+v", s.Calls)
			}
			abandoned, abandon := context.WithCancel(ctx)
			if _, err := client.Chat(abandoned); err != nil { // nobody reads its end
				t.Fatal(err)
			}
			abandon()
			if err := chat.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			awaitStatus(t, name, func(s statusPlugin) bool {
				return s.Calls.Begun == 8 && s.Calls.Ended == 8 && s.Calls.Errors["Canceled"] == 1
			})
			if wire == "h2" {
				conn, err := p.ClientConn()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := echopb.NewEchoClient(conn).Unary(ctx, &echopb.Payload{}); err != nil {
					t.Fatal(err)
				}
				if s := statusOf(t, name); s.Calls.Ended != 9 {
					t.Errorf("calls on ClientConn are not counted: %+v", s.Calls)
				}
			}
		})
	}
}

func exchangeOnce(chat echopb.Echo_ChatClient) error {
	if err := chat.Send(&echopb.Payload{}); err != nil {
		return err
	}
	_, err := chat.Recv()
	return err
}

// A supervised plugin keeps its row, its counts and its log over a crash and a swap.
func TestStatusSupervised(t *testing.T) {
	t.Parallel()
	const name = "status-supervised"
	launchIt := launching(t, echoPlugin(), host.WithName(name), host.WithStatus())
	h := superviseTest(t, launchIt, eager)
	ctx, client := testContext(t), echopb.NewEchoClient(h)
	if _, err := client.Fail(ctx, &echopb.FailRequest{How: "log"}); err != nil {
		t.Fatal(err)
	}
	first := statusOf(t, name)
	_, _ = client.Fail(ctx, &echopb.FailRequest{How: "exit"})
	s := awaitStatus(t, name, func(s statusPlugin) bool { return s.State == "ready" && s.Restarts == 1 })
	if !s.Supervised || s.PID == first.PID || s.PID == 0 || s.Calls.Ended != 2 || s.Calls.Errors["Unavailable"] != 1 || !strings.Contains(s.Error, "exit code 7") {
		t.Errorf("%+v", s)
	}
	if err := h.Swap(ctx, launchIt); err != nil {
		t.Fatal(err)
	}
	if s := statusOf(t, name); s.Starts != 3 || s.Restarts != 1 || s.State != "ready" || s.Error != "" {
		t.Errorf("after a swap: %+v", s)
	}
	log := awaitStatusLog(t, "supervised plugin: swapped")
	for _, want := range []string{
		`"level":"WARN","msg":"a word from the handler","plugin":"status-supervised","pid":` + strconv.Itoa(first.PID),
		`"msg":"leaving with code 7"`,
		`"level":"WARN","msg":"supervised plugin: exited","plugin":"status-supervised","attrs":{"error":"plugin`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

// A start that fails and a plugin that ends stay visible while another one lives.
func TestStatusEnded(t *testing.T) {
	t.Parallel()
	launch(t, echoPlugin(), host.WithName("status-witness"), host.WithStatus())
	if p, err := host.Launch(testContext(t), exec.Command("/bin/sh", "-c", "echo no configuration >&2; exit 3"), options(t, host.WithName("status-broken"), host.WithStatus())...); err == nil {
		_ = p.Close()
		t.Fatal("the start succeeded")
	}
	if s := statusOf(t, "status-broken"); s.State != "ended" || s.Starts != 0 || !strings.Contains(s.Error, "no configuration") {
		t.Errorf("%+v", s)
	}
	p := launch(t, echoPlugin(), host.WithName("status-stopped"), host.WithStatus())
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if s := statusOf(t, "status-stopped"); s.State != "ended" || s.Starts != 1 || s.Error != "" || s.PID != 0 {
		t.Errorf("%+v", s)
	}
}

// A plugin on go-plugin has a status too, and its lost connection is an error like any other.
func TestStatusOfAForeignPlugin(t *testing.T) {
	t.Parallel()
	p := launch(t, onGoPlugin(), host.WithName("status-foreign"), host.WithStatus())
	if s := statusOf(t, "status-foreign"); s.State != "ready" || s.PID != p.Info().PID || s.Info.Wire != "h2" {
		t.Errorf("%+v", s)
	}
}

// Another user cannot find the socket.
func TestStatusRefusesOtherUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	launch(t, echoPlugin(), host.WithName("status-private"), host.WithStatus())
	socket := statusSocket(t)
	const nobody = 65534
	become := func(script string) string {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script, "sh", socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s succeeds: %s", script, out)
		}
		return string(out)
	}
	assertSays(t, become(`ls "$(dirname "$1")"`), "Permission denied")
}

// TestStatusAllocations checks that a call that is counted allocates no more than another. As
// for other counts of the whole process, it does not run beside others.
func TestStatusAllocations(t *testing.T) {
	request := &echopb.Payload{Data: []byte("x")}
	ctx := testContext(t)
	count := func(p *host.Plugin) float64 {
		client := echopb.NewEchoClient(p)
		const calls = 200
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			if _, err := client.Unary(ctx, request); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / calls
	}
	for _, wire := range []string{"h2", "pw/1"} {
		plain := launch(t, echoPlugin(), host.WithWire(wire))
		counted := launch(t, echoPlugin(), host.WithWire(wire), host.WithStatus())
		without, with := math.Inf(1), math.Inf(1)
		for range 10 {
			without, with = min(without, count(plain)), min(with, count(counted))
		}
		t.Logf("%s: %.2f allocations, %.2f without the status", wire, with, without)
		if with-without >= 0.5 {
			t.Errorf("%s: %.2f allocations, and %.2f without the status", wire, with, without)
		}
	}
}

// A call in a gap reaches no plugin, so it is not counted.
func TestStatusGap(t *testing.T) {
	t.Parallel()
	const name = "status-gap"
	h := superviseTest(t, launching(t, echoPlugin(), host.WithName(name), host.WithStatus()), supervise.WithPolicy(supervise.Policy{Delay: time.Hour, MaxDelay: time.Hour}))
	ctx, client := testContext(t), echopb.NewEchoClient(h)
	_, _ = client.Fail(ctx, &echopb.FailRequest{How: "exit"})
	awaitStatus(t, name, func(s statusPlugin) bool { return s.State == string(supervise.PhaseReady) && s.Restarts == 1 }) // without a delay
	_, _ = client.Fail(ctx, &echopb.FailRequest{How: "exit"})
	s := awaitStatus(t, name, func(s statusPlugin) bool { return s.State == string(supervise.PhaseWaiting) })
	if _, err := client.Unary(ctx, &echopb.Payload{}); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	if after := statusOf(t, name); after.Calls.Begun != s.Calls.Begun || after.PID != 0 {
		t.Errorf("%+v", after)
	}
}
