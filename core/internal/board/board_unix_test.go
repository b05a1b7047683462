//go:build unix

package board

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// The tests share the board of the process, so they do not run in parallel.

// hang is how long a test waits for what takes milliseconds.
const hang = time.Minute

// directory makes a runtime directory for the test, and returns where the sockets are.
func directory(t *testing.T) string {
	t.Helper()
	runtime, err := os.MkdirTemp("", "b-") //nolint:usetesting // short, because the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	return filepath.Join(runtime, "plugwire")
}

// begin begins a start that is on the board.
func begin(t *testing.T, ctx context.Context, name string) *Run { //nolint:revive // t comes first
	t.Helper()
	return Begin(ctx, name, func(err error) { t.Errorf("no endpoint: %v", err) })
}

// sockets returns the paths of the sockets in a directory.
func sockets(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// client returns a client for the only socket of a directory.
func client(t *testing.T, dir string) *http.Client {
	t.Helper()
	paths := sockets(t, dir)
	if len(paths) != 1 {
		t.Fatalf("sockets %v, want one", paths)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", paths[0])
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: hang}
}

func get(t *testing.T, c *http.Client, path string) string {
	t.Helper()
	resp, err := c.Get("http://plugwire" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", path, resp.Status, err, b)
	}
	return string(b)
}

func report(t *testing.T, c *http.Client) Report {
	t.Helper()
	var r Report
	if err := json.Unmarshal([]byte(get(t, c, pluginsPath)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// records are the lines of a log.
func records(t *testing.T, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(text) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, record)
	}
	return list
}

// All starts of a process have one socket, which is there as long as one of them.
func TestOneSocketForAProcess(t *testing.T) {
	dir := directory(t)
	a, b := begin(t, t.Context(), "a"), begin(t, t.Context(), "b")
	paths := sockets(t, dir)
	if len(paths) != 1 || !strings.HasPrefix(filepath.Base(paths[0]), fmt.Sprintf("%d-", os.Getpid())) {
		t.Fatalf("sockets %v", paths)
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, paths[0]: os.ModeSocket | 0o600} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	a.Started(4711)
	a.Ready(Info{Protocol: "p", Version: 1})
	b.Stopping()
	a.Meter().End(a.Meter().Begin(), nil)
	r := report(t, client(t, dir))
	if r.Version != 1 || r.Host.PID != os.Getpid() || len(r.Plugins) != 2 {
		t.Fatalf("%+v", r)
	}
	if p := r.Plugins[0]; p.Name != "a" || p.State != "ready" || p.PID != 4711 || p.Starts != 1 || p.Info.Protocol != "p" || p.Calls.Ended != 1 || p.Supervised {
		t.Errorf("%+v", p)
	}
	if p := r.Plugins[1]; p.Name != "b" || p.State != "stopping" || p.Info != nil || p.Calls.Begun != 0 {
		t.Errorf("%+v", p)
	}
	a.End(nil)
	a.End(errors.New("a second end"))
	if paths := sockets(t, dir); len(paths) != 1 {
		t.Errorf("sockets %v after the first end", paths)
	}
	b.End(nil)
	if paths := sockets(t, dir); len(paths) != 0 {
		t.Errorf("sockets %v after the last end", paths)
	}
}

// A plugin that has ended stays on the board, and a new start under its name continues it.
func TestEnded(t *testing.T) {
	dir := directory(t)
	other := begin(t, t.Context(), "other")
	defer other.End(nil)
	c := client(t, dir)
	for i := range 3 {
		run := begin(t, t.Context(), "again")
		run.Started(100 + i)
		run.Ready(Info{})
		run.Meter().End(run.Meter().Begin(), nil)
		run.End(fmt.Errorf("end %d", i))
	}
	if p := report(t, c).Plugins; len(p) != 2 || p[1].State != "ended" || p[1].Starts != 3 || p[1].Restarts != 2 || p[1].Error != "end 2" || p[1].PID != 0 || p[1].Calls.Ended != 3 {
		t.Errorf("%+v", p)
	}
	for i := range 3 * maxEnded {
		begin(t, t.Context(), "many"+strconv.Itoa(i)).End(nil)
	}
	p := report(t, c).Plugins
	if last := p[len(p)-1]; len(p) != maxEnded+1 || last.Name != fmt.Sprint("many", 3*maxEnded-1) {
		t.Errorf("%d plugins on the board, the last %s", len(p), last.Name)
	}
}

// A supervised plugin has one row, also while no plugin runs.
func TestSupervised(t *testing.T) {
	dir := directory(t)
	row := NewRow()
	ctx := row.WithRow(t.Context())
	for i := range 2 * maxEarly {
		row.Log(slog.LevelInfo, "s", "before the first start", slog.Int("i", i))
	}
	first := begin(t, ctx, "s")
	row.Supervise(func() Supervision {
		return Supervision{State: "waiting", Attempt: 2, Next: time.Now(), Err: errors.New("broken")}
	})
	first.Ready(Info{})
	helper := begin(t, ctx, "helper")
	helper.End(nil)
	second := begin(t, ctx, "s")
	second.Ready(Info{}) // a swap: the first is still there
	first.End(nil)
	second.End(errors.New("crash"))
	third := begin(t, ctx, "s")
	third.Ready(Info{})
	third.End(errors.New("crash"))
	row.Log(slog.LevelWarn, "s", "restarting", slog.Int("attempt", 2))
	c := client(t, dir)
	p := report(t, c).Plugins
	if len(p) != 2 || p[1].Name != "helper" || p[1].Supervised {
		t.Fatalf("%+v", p)
	}
	if p := p[0]; !p.Supervised || p.State != "waiting" || p.Attempt != 2 || p.Next == nil || p.Error != "broken" || p.Starts != 3 || p.Restarts != 1 {
		t.Errorf("%+v", p)
	}
	log := records(t, get(t, c, logsPath))
	if len(log) != maxEarly+1 {
		t.Fatalf("log %v", log)
	}
	for i, l := range log[:maxEarly] { // the last ones from before the first start
		if l["seq"] != log[0]["seq"].(float64)+float64(i) || l["plugin"] != "s" || l["attrs"].(map[string]any)["i"] != float64(maxEarly+i) {
			t.Errorf("%v", l)
		}
	}
	if l := log[maxEarly]; l["msg"] != "restarting" || l["plugin"] != "s" || l["level"] != "WARN" || l["attrs"].(map[string]any)["attempt"] != 2.0 {
		t.Errorf("%v", l)
	}
	row.Close()
	row.Close()
	if paths := sockets(t, dir); len(paths) != 0 {
		t.Errorf("sockets %v after the end", paths)
	}
	late := begin(t, ctx, "s") // a launch function that ignores its context
	late.End(nil)
	if paths := sockets(t, dir); len(paths) != 0 {
		t.Errorf("sockets %v after a late start", paths)
	}
}

func TestLog(t *testing.T) {
	dir := directory(t)
	run := begin(t, t.Context(), "l")
	defer run.End(nil)
	var next strings.Builder
	logger := slog.New(run.Handler(slog.NewTextHandler(&next, nil))).With(logs.ProcessKey, "42")
	logger.Debug("below the level")
	logger.Info("hello", "plugin", "not me", "msg", 1)
	logger.With("a", 1).WithGroup("g").Warn("grouped", "b", 2)
	logger.Error(strings.Repeat("long", maxLineBytes)) //nolint:sloglint // the text is what is tested
	slog.New(run.Handler(slog.NewTextHandler(&next, nil))).Info("no process")
	if n := strings.Count(next.String(), "\n"); n != 4 {
		t.Errorf("the next handler has %d lines", n)
	}
	log := records(t, get(t, client(t, dir), logsPath))
	if len(log) != 4 {
		t.Fatalf("log %v", log)
	}
	if l := log[0]; l["version"] != 1.0 || l["seq"].(float64) < 1 || l["plugin"] != "l" || l["pid"] != 42.0 || l["level"] != "INFO" || l["msg"] != "hello" || fmt.Sprint(l["attrs"]) != "map[msg:1 plugin:not me]" {
		t.Errorf("%v", l)
	}
	if l := log[1]; fmt.Sprint(l["attrs"]) != "map[a:1 g:map[b:2]]" {
		t.Errorf("%v", l)
	}
	if l := log[2]; len(l["msg"].(string)) > maxMessage+len(" [...]") || l["attrs"].(map[string]any)["cut"] == nil {
		t.Errorf("%v", l)
	}
	if l := log[3]; l["pid"] != nil {
		t.Errorf("%v", l)
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	var r ring
	for i := range uint64(3 * maxLines) {
		r.add(entry{i, []byte("x")})
	}
	lines, lost := r.after(0)
	if len(lines) != maxLines || lost != 2*maxLines || lines[0].number != 2*maxLines {
		t.Errorf("%d lines, %d lost", len(lines), lost)
	}
	if lines, lost := r.after(r.next - 1); len(lines) != 1 || lost != 0 {
		t.Errorf("%d lines, %d lost", len(lines), lost)
	}
	for range maxLines {
		r.add(entry{0, make([]byte, maxLineBytes)})
	}
	if lines, _ := r.after(0); r.bytes > maxRingBytes || len(lines) != maxRingBytes/maxLineBytes {
		t.Errorf("%d lines of %d bytes", len(lines), r.bytes)
	}
}

// Readers get what a plugin logs at info and above, whatever the host's own logger wants. The
// logger gets nothing that it does not want.
func TestLogOfAQuietHost(t *testing.T) {
	dir := directory(t)
	run := begin(t, t.Context(), "q")
	defer run.End(nil)
	var next strings.Builder
	for _, handler := range []slog.Handler{
		slog.DiscardHandler,
		slog.NewTextHandler(&next, &slog.HandlerOptions{Level: slog.LevelError}),
	} {
		logger := slog.New(run.Handler(handler)).With(logs.ProcessKey, "42")
		if lowest := logs.Lowest(logger); lowest != slog.LevelInfo {
			t.Errorf("the plugin is asked for records from %v on, want info", lowest)
		}
		logger.Debug("debug")
		logger.Info("info")
		logger.With("a", 1).WithGroup("g").Warn("warn", "b", 2)
		logger.Error("error")
	}
	if text := next.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "msg=error pid=42") {
		t.Errorf("a logger at error has %s", text)
	}
	var messages []any
	for _, record := range records(t, get(t, client(t, dir), logsPath)) {
		messages = append(messages, record["msg"])
	}
	if got := fmt.Sprint(messages); got != "[info warn error info warn error]" {
		t.Errorf("readers have %s", got)
	}
}

// A reader that follows gets the lines that there are and those to come, in their order, and
// learns how many it has missed.
func TestFollow(t *testing.T) {
	dir := directory(t)
	a, b := begin(t, t.Context(), "a"), begin(t, t.Context(), "b")
	la := slog.New(a.Handler(slog.DiscardHandler))
	lb := slog.New(b.Handler(slog.DiscardHandler))
	la.Info("0")
	resp, err := client(t, dir).Get("http://plugwire" + logsPath + "?follow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 100 {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"msg":"%d"`, i)) {
			t.Fatalf("line %d is %s, %v", i, lines.Text(), lines.Err())
		}
		logger := la
		if i%2 == 0 {
			logger = lb
		}
		logger.Info(strconv.Itoa(i + 1)) //nolint:sloglint // the text is what is tested
	}
	a.End(nil)
	b.End(nil)
	for lines.Scan() { // the end of the endpoint ends the answer in good order
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if _, missed, _ := (&board{rows: []*Row{{number: 1, lines: ring{next: 9}}}}).read(position{}); missed != 0 {
		t.Errorf("a new reader has missed %d lines", missed)
	}
	r := &Row{number: 1, lines: ring{next: 9}}
	if _, missed, _ := (&board{rows: []*Row{r}}).read(position{r: 5}); missed != 4 {
		t.Errorf("a slow reader has missed %d lines, want 4", missed)
	}
	var text strings.Builder
	if err := writeLines(&text, nil, 4); err != nil || text.String() != "{\"version\":1,\"missed\":4}\n" {
		t.Errorf("%q, %v", text.String(), err)
	}
}

// A reader that follows gets what was logged right before the last plugin ended. That tells
// why it ended.
func TestFollowToTheEnd(t *testing.T) {
	dir := directory(t)
	for range 50 {
		run := begin(t, t.Context(), "e")
		logger := slog.New(run.Handler(slog.DiscardHandler))
		logger.Info("first")
		resp, err := client(t, dir).Get("http://plugwire" + logsPath + "?follow")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		if !lines.Scan() { // the reader follows
			t.Fatal(lines.Err())
		}
		logger.Error("last")
		run.End(nil)
		if !lines.Scan() || !strings.Contains(lines.Text(), `"msg":"last"`) {
			t.Fatalf("the last line is %s, %v", lines.Text(), lines.Err())
		}
		_ = resp.Body.Close()
	}
}

// When a connection of a reader ends with the host, its socket is no longer there.
func TestSocketGoesFirst(t *testing.T) {
	dir := directory(t)
	for range 50 {
		run := begin(t, t.Context(), "s")
		path := sockets(t, dir)[0]
		get(t, client(t, dir), pluginsPath) // the server is there
		gone := make(chan error, 1)
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET "+logsPath+"?follow HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn) // any end will do
			_, err := os.Lstat(path)
			gone <- err
		}()
		run.End(nil)
		if err := <-gone; !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the socket after the end of a connection: %v", err)
		}
		_ = conn.Close()
	}
}

// Readers that read nothing, say nothing or say nonsense keep nobody from anything, and the
// end does not wait for them.
func TestBadReaders(t *testing.T) {
	dir := directory(t)
	run := begin(t, t.Context(), "r")
	logger := slog.New(run.Handler(slog.DiscardHandler))
	path := sockets(t, dir)[0]
	for i := range maxReaders {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i > 0 { // the first says nothing
			if _, err := io.WriteString(conn, "GET "+logsPath+"?follow HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20 * maxLines { // more than the sockets can hold
		logger.Info(strings.Repeat("x", 1000)) //nolint:sloglint // the text is what is tested
	}
	c := client(t, dir)
	if resp, err := c.Get("http://plugwire" + pluginsPath); err == nil {
		_ = resp.Body.Close()
		t.Errorf("one reader too many gets %s", resp.Status)
	}
	run.End(nil) // returns
	if paths := sockets(t, dir); len(paths) != 0 {
		t.Errorf("sockets %v after the end", paths)
	}
}

func TestRequests(t *testing.T) {
	dir := directory(t)
	run := begin(t, t.Context(), "q")
	defer run.End(nil)
	path := sockets(t, dir)[0]
	places := func() int {
		process.opening.Lock()
		defer process.opening.Unlock()
		return len(process.endpoint.places)
	}
	for request, want := range map[string]string{
		"nonsense\r\n\r\n": "400",
		"POST /v1/plugins HTTP/1.1\r\nHost: x\r\n\r\n":                     "405",
		"GET /v2/plugins HTTP/1.1\r\nHost: x\r\n\r\n":                      "404",
		"GET /v1/plugins HTTP/1.0\r\n\r\n":                                 "200",
		"HEAD /v1/plugins HTTP/1.0\r\n\r\n":                                "200",
		"GET /v1/plugins HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n": "400",
		"GET /" + strings.Repeat("x", 4*maxRequest) + " HTTP/1.1\r\n\r\n":  "431",
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, request) // the other side may end the connection before
		answer, _ := bufio.NewReader(conn).ReadString('\n')
		if !strings.Contains(answer, want) {
			t.Errorf("%.40q is answered with %q, want %s", request, answer, want)
		}
		_ = conn.Close()
	}
	for deadline := time.Now().Add(hang); places() > 0; time.Sleep(time.Millisecond) { // a place is free when the server has noticed the end
		if time.Now().After(deadline) {
			t.Fatalf("%d readers are left", places())
		}
	}
}

// The sockets of hosts that were killed are removed, and others are left alone.
func TestStale(t *testing.T) {
	dir := directory(t)
	begin(t, t.Context(), "makes the directory").End(nil)
	stale, live, foreign := filepath.Join(dir, "1-x.sock"), filepath.Join(dir, "2-x.sock"), filepath.Join(dir, "notes")
	for _, path := range []string{stale, live} {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		if path == stale {
			_ = ln.Close()
		} else {
			defer ln.Close()
		}
	}
	file := filepath.Join(dir, "file.sock")
	for _, path := range []string{foreign, file} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := begin(t, t.Context(), "x")
	defer run.End(nil)
	if _, err := os.Lstat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale socket: %v", err)
	}
	for _, path := range []string{live, foreign, file} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

// Without a directory a start goes on, and a later one tries again.
func TestNoDirectory(t *testing.T) {
	dir := directory(t)
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var warning error
	run := Begin(t.Context(), "n", func(err error) { warning = err })
	defer run.End(nil)
	run.Ready(Info{})
	if want := "is not a directory that only user"; warning == nil || !strings.Contains(warning.Error(), want) {
		t.Errorf("warning %v, want %s", warning, want)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	begin(t, t.Context(), "o").End(nil)
	if r := report(t, client(t, dir)); len(r.Plugins) != 2 {
		t.Errorf("%+v", r)
	}
}

// loggingError is an error whose method logs, as one of a program's own may.
type loggingError struct{ logger *slog.Logger }

func (e *loggingError) Error() string {
	e.logger.Warn("asked for the text")
	return "the text"
}

// An error whose text is made by a method that logs does not block the board.
func TestErrorThatLogs(t *testing.T) {
	dir := directory(t)
	row := NewRow()
	defer row.Close()
	run := begin(t, row.WithRow(t.Context()), "e")
	broken := &loggingError{slog.New(run.Handler(slog.DiscardHandler))}
	row.Supervise(func() Supervision { return Supervision{State: "waiting", Err: broken} })
	run.End(broken)
	if p := report(t, client(t, dir)).Plugins; len(p) != 1 || p[0].Error != "the text" {
		t.Errorf("%+v", p)
	}
}

// A path that is too long is said to be, at the very byte, and nothing is left.
func TestLongPath(t *testing.T) {
	dir := directory(t)
	begin(t, t.Context(), "makes the directory").End(nil)
	for _, over := range []int{0, 1} {
		runtime := filepath.Dir(dir)
		name := filepath.Join("plugwire", fmt.Sprintf("%d-12345678%s", os.Getpid(), socketSuffix))
		runtime = filepath.Join(runtime, strings.Repeat("x", maxPath+over-len(filepath.Join(runtime, "/", name))-1))
		if err := os.Mkdir(runtime, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("XDG_RUNTIME_DIR", runtime)
		var warning error
		run := Begin(t.Context(), "n", func(err error) { warning = err })
		left := sockets(t, filepath.Join(runtime, "plugwire"))
		if over == 0 && (warning != nil || report(t, client(t, filepath.Join(runtime, "plugwire"))).Version != 1) {
			t.Errorf("the longest path: %v", warning)
		}
		if over == 1 && (warning == nil || !strings.Contains(warning.Error(), "shorter directory") || len(left) != 0) {
			t.Errorf("a path that is too long: %v, %v left", warning, left)
		}
		run.End(nil)
	}
}

// Starts, ends and readers at once.
func TestConcurrent(t *testing.T) {
	directory(t)
	var working sync.WaitGroup
	for i := range 8 {
		working.Go(func() {
			for range 50 {
				row := NewRow()
				run := begin(t, row.WithRow(t.Context()), strconv.Itoa(i%4))
				run.Ready(Info{})
				run.Meter().End(run.Meter().Begin(), nil)
				slog.New(run.Handler(slog.DiscardHandler)).Info("x")
				process.snapshot()
				process.read(make(position))
				run.End(nil)
				row.Close()
			}
		})
	}
	working.Wait()
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.inUse != 0 || len(process.rows) != 0 {
		t.Errorf("%d rows in use, %d on the board", process.inUse, len(process.rows))
	}
}

func TestNil(t *testing.T) {
	t.Parallel()
	var run *Run
	run.Started(1)
	run.Ready(Info{})
	run.Stopping()
	run.End(nil)
	if run.Meter() != nil || run.Handler(slog.DiscardHandler) != slog.DiscardHandler {
		t.Error("a nil run has a meter or a handler of its own")
	}
}

// readAsStranger prints what the socket answers to a reader of another user.
func readAsStranger(path string) {
	conn, err := net.Dial("unix", path)
	if err == nil {
		_, _ = io.WriteString(conn, "GET "+pluginsPath+" HTTP/1.0\r\n\r\n") // the other side may have closed it
		_, err = io.Copy(os.Stdout, conn)
	}
	fmt.Println("end:", err)
}

// Another user is refused, even where the modes of files would allow it.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := directory(t)
	run := begin(t, t.Context(), "x")
	defer run.End(nil)
	path := sockets(t, dir)[0]
	program := filepath.Join(filepath.Dir(dir), "reader")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(program, b, 0o755)
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755, path: 0o666} {
		err = errors.Join(err, os.Chmod(path, mode))
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func(credential *syscall.Credential) string {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), strangerReads+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	const nobody = 65534
	if out := read(&syscall.Credential{Uid: nobody, Gid: nobody}); !strings.HasPrefix(out, "end:") {
		t.Errorf("another user reads %s", out)
	}
	if out := read(nil); !strings.HasPrefix(out, "HTTP/1.0 200 OK") {
		t.Errorf("the same user reads %s", out)
	}
}
