package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

// programName is the name under which this test's program is the plugin.
const programName = "hello-plugin"

type greeter struct{}

func (greeter) Greet(_ context.Context, r *hello.GreetRequest) (*hello.GreetResponse, error) {
	return &hello.GreetResponse{Greeting: "Hello, " + r.GetName() + "!"}, nil
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == programName {
		plugin.Main(hello.ServeGreeter(greeter{}), plugin.WithTransports(unix.New()))
		return
	}
	os.Exit(m.Run())
}

// Prometheus sees calls, the plugin's memory, and a restart after the plugin was killed.
func TestScrape(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), programName)
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%s/metrics", ln.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, ln, program, 10*time.Millisecond) }()

	await(t, url, ended, `rpc_client_call_duration_seconds_count\{.*rpc_method="hello.Greeter/Greet".*server_address="hello-plugin".*\} ([1-9]\d*)`)
	memory := await(t, url, ended, `process_memory_usage_bytes\{.*plugwire_plugin_name="hello-plugin".*process_pid="(\d+)"`)
	await(t, url, ended, `plugwire_plugin_running\{.*\} (1)\n`)
	pid, err := strconv.Atoi(memory)
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, url, ended, `plugwire_plugin_restarts_total\{.*\} (1)\n`)
	await(t, url, ended, `plugwire_plugin_exits_total\{.*plugwire_exit_signal="(killed)"`)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// await scrapes until the metrics match, and returns the first group of the match.
func await(t *testing.T, url string, ended <-chan error, pattern string) string {
	t.Helper()
	matcher, deadline := regexp.MustCompile(pattern), time.Now().Add(time.Minute)
	for {
		text, err := scrape(t, url)
		if m := matcher.FindStringSubmatch(text); m != nil {
			return m[1]
		}
		select {
		case runErr := <-ended:
			t.Fatal(errors.Join(runErr, err))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing matches %s (%v) in\n%s", pattern, err, text)
		}
	}
}

func scrape(t *testing.T, url string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	text := new(strings.Builder)
	_, err = io.Copy(text, response.Body)
	return text.String(), errors.Join(err, response.Body.Close())
}
