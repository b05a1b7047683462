package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// The tests of this package use the real commands, each as a process of its own.

// bin is the directory of the commands; set by TestMain.
var bin string

func TestMain(m *testing.M) {
	if os.Getenv(versionsVariable) != "" {
		servePluginOfAnotherRelease() // does not return
	}
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(bin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// build builds the host, and then runs it: without a plugin beside it, as under go run, it builds the plugin.
func build() (err error) {
	if bin, err = os.MkdirTemp("", "versioned-"); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../versioned-host"),
		exec.Command(path("versioned-host")),
	} {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // same settings as go tool mage build, to share its build cache
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, output)
		}
	}
	return nil
}

func path(command string) string { return filepath.Join(bin, command) }

// launch starts a plugin for a host that knows these versions, and stops it when the test ends. The host sends larger messages than the plugin
// accepts.
func launch(t *testing.T, cmd *exec.Cmd, tr transport.Transport, known ...*protocol.Protocol) (*host.Plugin, error) {
	t.Helper()
	p, err := host.Launch(t.Context(), cmd,
		host.WithProtocols(known...),
		host.WithTransports(tr),
		host.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, nil
}

// run runs a command and returns its exit code and output.
func run(t *testing.T, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path(name), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestPluginByHand(t *testing.T) {
	if code, stdout, stderr := run(t, "versioned-plugin"); code != 1 || stdout != "" || strings.Count(stderr, "\n") != 2 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestHost(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"lines": "b\na\nb\n", "empty": "", "long": strings.Repeat("x", 64<<10+1)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := regexp.MustCompile(`^version 1
  text 1: 6 bytes
  text 2: data: must not be empty
  text 3: data: has 65537 bytes: .*
version 2
  text 1: 4 bytes in 2 different lines
  text 2: text: must not be empty
  text 3: text: has 65537 bytes: .*
refused: the plugin refused: host and plugin have no version of protocol versioned in common \(host: version 3; plugin: versions 2, 1\): the plugin is the older one: update it
$`)
	code, stdout, stderr := run(t, "versioned-host", filepath.Join(dir, "lines"), filepath.Join(dir, "empty"), filepath.Join(dir, "long"))
	if code != 0 || stderr != "" || !want.MatchString(stdout) {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	if code, stdout, stderr := run(t, "versioned-host", "absent"); code != 1 || stdout != "" || !strings.HasPrefix(stderr, "versioned-host: open absent: ") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
