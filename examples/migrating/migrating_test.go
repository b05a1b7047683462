//go:build unix

package migrating_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/examples/migrating/after"
	"github.com/plugwire/plugwire/plugins/hello"
)

// sides are the directories with the programs of each framework.
var sides = []string{"before", "after"}

// dir has the programs of each side, in a directory of its name; set by TestMain.
var dir string

// TestMain builds all programs, so that compiling takes no time from a test's
// limit.
func TestMain(m *testing.M) {
	var err error
	code := 1
	if dir, err = os.MkdirTemp("", "migrating-"); err == nil {
		if err = build(); err == nil {
			code = m.Run()
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build builds the programs with the settings of go tool mage build, to share its build
// cache.
func build() error {
	for _, side := range sides {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, side)+string(filepath.Separator), "./"+side+"/cmd/...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, output)
		}
	}
	return nil
}

// TestEitherSideMovesFirst runs each host with each plugin.
func TestEitherSideMovesFirst(t *testing.T) {
	plugin := func(side string) string { return filepath.Join(dir, side, "greeter-plugin") }
	for _, from := range sides {
		for _, to := range sides {
			t.Run(from+" calls "+to, func(t *testing.T) { checkGreeting(t, filepath.Join(dir, from, "greeter-host"), plugin(to)) })
		}
	}
	for _, side := range sides {
		t.Run("options, with the plugin "+side, func(t *testing.T) { checkOptions(t, plugin(side)) })
	}
}

// killed is go-plugin's message about a plugin that has not ended two seconds after
// the host asked for it. On a busy machine this can happen to any plugin, but not
// each time.
const killed = "plugin failed to exit gracefully"

// checkGreeting runs a host with a plugin.
func checkGreeting(t *testing.T, hostPath, pluginPath string) {
	t.Helper()
	const attempts = 5
	for attempt := 1; ; attempt++ {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), hostPath, pluginPath)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if err == nil && stdout.String() == "Hello, world!\n" && stderr.Len() == 0 {
			return
		}
		if attempt == attempts || !strings.Contains(stderr.String(), killed) {
			t.Fatalf("%v, stdout %q, stderr %q", err, &stdout, &stderr)
		}
	}
}

// checkOptions runs the functions that the page quotes about options.
func checkOptions(t *testing.T, path string) {
	t.Helper()
	if version, err := after.Versions(t.Context(), exec.Command(path)); version != 1 || err != nil {
		t.Errorf("version %d, %v", version, err)
	}
	var stdout, stderr lockedBuffer
	p, err := after.Options(t.Context(), exec.Command(path), &stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if info := p.Info(); info.Security != "mtls" {
		t.Errorf("%+v, want mtls", info)
	}
	checkServe(t, p)
	ended := make(chan error, 1)
	after.Watch(p, func(err error) { ended <- err })
	var plugins after.Plugins
	plugins.Add(p)
	if err := plugins.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Err: %v", err)
	}
	if err := after.Stop(p); err != nil {
		t.Errorf("Shutdown of a plugin that has ended: %v", err)
	}
}

// checkServe serves something to the plugin, which does not call it.
func checkServe(t *testing.T, p *host.Plugin) {
	t.Helper()
	err := after.Serve(t.Context(), p, nobody{}, func(id uint32) error {
		if id != 1 {
			t.Errorf("the first id is %d", id)
		}
		return p.Ping(t.Context())
	})
	if err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// nobody is a handler that no peer calls.
type nobody struct{}

func (nobody) Greet(context.Context, *hello.GreetRequest) (*hello.GreetResponse, error) {
	return &hello.GreetResponse{}, nil
}

// lockedBuffer is a buffer for two writers.
type lockedBuffer struct {
	mu     sync.Mutex // guards buffer
	buffer bytes.Buffer
}

// Write implements [io.Writer].
func (s *lockedBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.Write(b)
}

// TestPageNamesEveryField checks that the page names every field of go-plugin's
// configurations.
func TestPageNamesEveryField(t *testing.T) {
	page := read(t, filepath.Join("..", "..", "docs", "migrating-from-go-plugin.md"))
	_, tables, ok := strings.Cut(page, "\n## 11. ")
	if !ok {
		t.Fatal("there is no section 11")
	}
	for _, config := range []any{goplugin.ClientConfig{}, goplugin.ServeConfig{}, goplugin.ServeTestConfig{}, goplugin.HandshakeConfig{}, goplugin.UnixSocketConfig{}} {
		typ := reflect.TypeOf(config)
		for f := range typ.Fields() {
			if f.IsExported() && !strings.Contains(tables, "`"+f.Name+"`") {
				t.Errorf("%v: field %s is not in a table", typ, f.Name)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
