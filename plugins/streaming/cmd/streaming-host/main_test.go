package main

import (
	"bytes"
	"context"
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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// The tests of this package use the real commands, each as a process of its own.

// binVariable has the directory of the commands, and says that this executable is a host that makes a transfer
// ([transferMain]).
const binVariable = "STREAMING_TEST_BIN"

// bin is the directory of the commands; set by TestMain.
var bin string

func TestMain(m *testing.M) {
	if bin = os.Getenv(binVariable); bin != "" {
		if err := transferMain(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
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
	if bin, err = os.MkdirTemp("", "streaming-test-"); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-o", bin+string(filepath.Separator), "."),
		exec.Command(path("streaming-host")),
		exec.Command("go", "test", "-c", "-o", path("transfer"), "."), // these tests once more, without the race detector, which takes memory
	} {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // same settings as go tool mage build, to share its build cache
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, output)
		}
	}
	return nil
}

func path(command string) string { return filepath.Join(bin, command) }

// launch starts the plugin with arguments.
func launch(ctx context.Context, tr transport.Transport, args ...string) (*host.Plugin, error) {
	return host.Launch(ctx, exec.Command(path("streaming-plugin"), args...),
		host.WithProtocols(streaming.StreamingServiceProtocol),
		host.WithTransports(tr),
		host.WithLogger(slog.New(slog.DiscardHandler)))
}

// mustLaunch starts the plugin, and stops it when the test ends.
func mustLaunch(t *testing.T, tr transport.Transport, args ...string) streaming.StreamingServiceClient {
	t.Helper()
	p, err := launch(t.Context(), tr, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return streaming.NewStreamingServiceClient(p)
}

// runCommand runs a command and returns its exit code and output.
func runCommand(t *testing.T, name string, args ...string) (code int, stdout, stderr string) {
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

func TestWorkOverEachTransport(t *testing.T) {
	for _, tr := range []transport.Transport{unix.New(), quic.New(), tcp.New()} {
		t.Run(tr.Name(), func(t *testing.T) {
			dir := t.TempDir()
			client := mustLaunch(t, tr, "-root", dir)
			if _, err := put(t.Context(), client, "main.go", "a/b"); err != nil {
				t.Fatal(err)
			}
			if _, err := get(t.Context(), client, "a/b", filepath.Join(dir, "back")); err != nil {
				t.Fatal(err)
			}
			if same, err := sameContent("main.go", filepath.Join(dir, "back")); !same || err != nil {
				t.Errorf("the file that came back differs, %v", err)
			}
			if err := chat(t.Context(), client, "ann", "hello", "/files"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPluginByHand(t *testing.T) {
	root := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no root", nil, 1, `^streaming-plugin: this is a plugin: a host starts it with -root DIRECTORY [^\n]+\n$`},
		{"help", []string{"-h"}, 0, `A host starts it, for example: streaming-host`},
		{"an argument", []string{"-root", root, "x"}, 1, `without arguments`},
		{"no host", []string{"-root", root}, 1, `^[^\n]+\n[^\n]+\n$`},
		{"no size", []string{"-root", root, "-max-size", "0"}, 1, `the largest file cannot have 0 bytes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, stdout, stderr := runCommand(t, "streaming-plugin", tt.args...); code != tt.code || stdout != "" || !regexp.MustCompile(tt.want).MatchString(stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

// A file that is larger than the plugin's limit leaves nothing behind.
func TestMaxSize(t *testing.T) {
	root := t.TempDir()
	client := mustLaunch(t, unix.New(), "-root", root, "-max-size", "5")
	if _, err := put(t.Context(), client, "main.go", "main.go"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error %v, want ResourceExhausted", err)
	}
	if left, err := os.ReadDir(root); len(left) > 0 || err != nil {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	want := regexp.MustCompile(`^put copies/file: 1000000 bytes in \S+
got it back in \S+, with the same SHA-256
"ann": "good morning"
"assistant": "2 words, 12 characters"
"ann": "/who"
"assistant": "ann"
"ann": "/calc 2\*\(3\+4\)"
"assistant": "14"
$`)
	for range 2 { // the second time, the file is replaced
		code, stdout, stderr := runCommand(t, "streaming-host", "-root", root, file)
		if code != 0 || stderr != "" || !want.MatchString(stdout) {
			t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
		}
	}
	if same, err := sameContent(file, filepath.Join(root, "copies", "file")); !same || err != nil {
		t.Errorf("the copy differs, %v", err)
	}
}

func TestHostsErrors(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "usage: streaming-host [-root DIRECTORY] [FILE]\n  -root directory"},
		{[]string{"-frob"}, 2, "flag provided but not defined: -frob"},
		{[]string{absent}, 1, "streaming-host: open " + absent},
		{[]string{"-root", absent}, 1, "streaming-plugin: the root: open " + absent},
	} {
		if code, stdout, stderr := runCommand(t, "streaming-host", tt.args...); code != tt.code || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", tt.args, code, stdout, stderr)
		}
	}
}
