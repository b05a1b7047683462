package top

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/hosts"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// start is a time for what has no real one.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// answer is what a host with one plugin answers.
func answer(after time.Duration, change func(*hosts.Plugin)) []hosts.Answer {
	p := hosts.Plugin{ID: 1, Name: "p", State: "ready", Since: start}
	change(&p)
	r := &hosts.Report{Version: 1, Time: start.Add(after), Plugins: []hosts.Plugin{p}}
	r.Host.Name, r.Host.PID = "h", 7
	return []hosts.Answer{{Host: &hosts.Host{Path: "/s"}, Report: r}}
}

// Rates and quantiles are of the time between two samples.
func TestRates(t *testing.T) {
	t.Parallel()
	var s sampler
	first := s.sample(answer(0, func(p *hosts.Plugin) {
		p.Calls.Begun, p.Calls.Ended, p.Calls.Durations = 11, 10, [][2]uint64{{1_000_000, 10}}
		p.Calls.Errors = map[string]uint64{"Internal": 3}
	}), start)
	if r := first.Plugins[0]; r.CallsPerSecond != 0 || r.P50 != nil || r.Calls != 10 || r.InFlight != 1 || r.Errors != 3 || r.CPU != nil || r.Memory != nil {
		t.Errorf("%+v", r)
	}
	second := s.sample(answer(2*time.Second, func(p *hosts.Plugin) {
		p.Calls.Begun, p.Calls.Ended, p.Calls.Durations = 110, 110, [][2]uint64{{1_000_000, 10}, {2_000_000, 98}, {50_000_000, 2}}
		p.Calls.Errors = map[string]uint64{"Internal": 3, "Unavailable": 4}
	}), start)
	if r := second.Plugins[0]; r.CallsPerSecond != 50 || *r.P50 != 2 || *r.P99 != 50 || r.Errors != 7 || r.ErrorsPerSec != 2 || r.Since != 2 {
		t.Errorf("%+v", r)
	}
	third := s.sample(answer(4*time.Second, func(p *hosts.Plugin) { p.Calls.Ended = 1 }), start) // less than before is not a rate
	if r := third.Plugins[0]; r.CallsPerSecond != 0 || r.P50 != nil || r.InFlight != 0 {
		t.Errorf("%+v", r)
	}
}

// The process of a plugin is measured here.
func TestMeasure(t *testing.T) {
	t.Parallel()
	var s sampler
	for i := range 2 {
		r := s.sample(answer(time.Duration(i)*time.Second, func(p *hosts.Plugin) { p.PID = os.Getpid() }), start).Plugins[0]
		if r.Memory == nil || *r.Memory == 0 || i > 0 && r.CPU == nil {
			t.Errorf("sample %d: %+v", i, r)
		}
	}
	if r := s.sample(answer(0, func(p *hosts.Plugin) { p.PID = 1 << 30 }), start).Plugins[0]; r.Memory != nil || r.CPU != nil {
		t.Errorf("a process that is not there: %+v", r)
	}
}

// Plugins that ended long ago are left out, and a host that cannot be read is a problem.
func TestSample(t *testing.T) {
	t.Parallel()
	ended := answer(2*endedFor, func(p *hosts.Plugin) { p.State = "ended" })
	broken := hosts.Answer{Host: &hosts.Host{Path: "/broken"}, Err: errors.New("no\nluck\x1b[2J")}
	var s sampler
	sample := s.sample(append(ended, broken), start)
	if len(sample.Plugins) != 0 || len(sample.Problems) != 1 {
		t.Errorf("%+v", sample)
	}
	if text := table(sample); !strings.Contains(text, "\n/broken: no luck\uFFFD[2J\n") || strings.Contains(text, noHosts) {
		t.Errorf("%q", text)
	}
	s.all = true
	if sample := s.sample(ended, start); len(sample.Plugins) != 1 {
		t.Errorf("%+v", sample)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	number := func(f float64) *float64 { return &f }
	size := uint64(3 << 19)
	sample := &Sample{Time: start, Plugins: []Row{
		{Host: "h", HostPID: 1, Plugin: "b", PID: 2, State: "ready", Since: 59.9, CallsPerSecond: 12.34, P50: number(0.4321), P99: number(1.0625), Errors: 5, CPU: number(99.96), Memory: &size},
		{Host: "h", HostPID: 1, Plugin: "a\tb\n" + strings.Repeat("x", 50), State: "waiting", Since: 100000, Restarts: 3, P50: number(2500)},
	}}
	sample.sort("plugin")
	want := `HOST  PID  PLUGIN                                    PID  STATE    FOR    RESTARTS  CALLS/S  P50     P99      ERRORS  CPU     MEMORY
h     1    a b xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  -    waiting  1d03h  3         0.0      2.5 s   -        0       -       -
h     1    b                                         2    ready    59s    0         12.3     432 µs  1.06 ms  5       100.0%  1.5 MiB
`
	if got := table(sample); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for order := range orders { // every order is total
		sample.sort(order)
		first := sample.Plugins[0].Plugin
		sample.Plugins[0], sample.Plugins[1] = sample.Plugins[1], sample.Plugins[0]
		if sample.sort(order); sample.Plugins[0].Plugin != first {
			t.Errorf("-sort %s depends on the order before", order)
		}
	}
	if text := frame(sample, 20, 4, strings.ToLower); text != "\x1b[Hplugwire top, 03:04:\x1b[K\n\x1b[K\nhost  pid  plugin   \x1b[K\n2 more lines\x1b[K\x1b[J" {
		t.Errorf("%q", text)
	}
	for _, size := range [][2]int{{0, 0}, {80, 0}, {0, 24}, {-1, -1}} { // terminals that do not know their size
		if text := frame(sample, size[0], size[1], strings.ToLower); strings.Count(text, "\n") != 4 {
			t.Errorf("with the size %v: %q", size, text)
		}
	}
	if text := frame(sample, 1, 1, strings.ToLower); text != "\x1b[H5\x1b[K\x1b[J" {
		t.Errorf("%q", text)
	}
}

// The page answers only for its own names, and can only be read.
func TestPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	finder, err := hosts.NewFinder(dir)
	if err != nil {
		t.Skip("hosts show no status on this system:", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := &pageServer{command: &command{finder: finder, sort: "host", interval: time.Second}, name: "MyMachine"}
	for _, tt := range []struct {
		method, host, path string
		code               int
		want               string
	}{
		{"GET", "localhost:8080", "/", 200, noHosts},
		{"HEAD", "127.0.0.1:8080", "/", 200, ""},
		{"GET", "[::1]:8080", "/", 200, noHosts},
		{"GET", "LOCALHOST", "/?x", 200, `data-interval="1000"`},
		{"GET", "mymachine:1", "/", 200, noHosts},
		{"GET", "evil.example", "/", 421, "another name"},
		{"GET", "localhost.evil.example:8080", "/", 421, "another name"},
		{"GET", "", "/", 421, "another name"},
		{"POST", "localhost", "/", 405, "only be read"},
		{"GET", "localhost", "/favicon.ico", 404, "not found"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, http.NoBody)
		r.Host = tt.host
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s at %q: %d %s", tt.method, tt.path, tt.host, w.Code, w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("policy %q", policy)
		}
	}
}

// A request that comes while the command ends does not use what the command closes.
func TestPageEnd(t *testing.T) {
	t.Parallel()
	p := &pageServer{command: &command{sort: "host"}} // without a finder
	p.end()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Host = "localhost"
	p.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// What hosts say about themselves is text on the page.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	parsed, err := parsePage()
	if err != nil {
		t.Fatal(err)
	}
	const evil = `"><script>alert(1)</script>`
	p := &pageServer{command: &command{interval: time.Second}}
	var text strings.Builder
	if err := parsed.Execute(&text, p.page(&Sample{
		Plugins:  []Row{{Host: evil, Plugin: evil, State: evil, Error: evil}},
		Problems: []Problem{{evil, evil}},
	})); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "<script>alert") || strings.Count(text.String(), "<script>") != 1 {
		t.Error(text.String())
	}
}

func TestPageHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		address   string
		remote    bool
		name, err string
	}{
		{":0", false, "localhost", ""},
		{"127.0.0.1:80", false, "127.0.0.1", ""},
		{"[::1]:80", false, "::1", ""},
		{"0.0.0.0:80", false, "", "other machines"},
		{"example.com:80", false, "", "other machines"},
		{"0.0.0.0:80", true, "0.0.0.0", ""},
		{":80", true, "localhost", ""},
		{"80", true, "", "want an address"},
	} {
		name, err := (&command{http: tt.address, remote: tt.remote}).pageHost()
		var own *output.Error
		if name != tt.name || (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || !errors.As(err, &own) || own.Code != output.ExitUsage) {
			t.Errorf("%+v: %q, %v", tt, name, err)
		}
	}
}
