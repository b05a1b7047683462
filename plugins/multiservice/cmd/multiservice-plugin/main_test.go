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

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// The tests of this package use the real commands, each as a process of its own.

// bin is the directory of the commands; set by TestMain.
var bin string

func TestMain(m *testing.M) {
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
	if bin, err = os.MkdirTemp("", "multiservice-test-"); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../multiservice-host"),
		exec.Command(path("multiservice-host")),
	} {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // same settings as go tool mage build, to share its build cache
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, output)
		}
	}
	return nil
}

func path(command string) string { return filepath.Join(bin, command) }

// launch starts the plugin on a directory.
func launch(ctx context.Context, dir string, tr transport.Transport) (*host.Plugin, error) {
	return host.Launch(ctx, exec.Command(path("multiservice-plugin"), "-dir", dir),
		host.WithProtocols(multi.MultiProtocol),
		host.WithTransports(tr),
		host.WithLogger(slog.New(slog.DiscardHandler)))
}

// mustLaunch starts the plugin, and stops it when the test ends.
func mustLaunch(t *testing.T, dir string, tr transport.Transport) *host.Plugin {
	t.Helper()
	p, err := launch(t.Context(), dir, tr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// One plugin serves both services, over each transport, and the next plugin finds
// its data.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for i, tr := range []transport.Transport{unix.New(), quic.New(), tcp.New()} {
		p := mustLaunch(t, dir, tr)
		users, data := multi.NewUserServiceClient(p), multi.NewDataServiceClient(p)
		if i == 0 {
			if _, err := users.CreateUser(t.Context(), &multi.CreateUserRequest{Name: "root", Role: multi.Role_ROLE_ADMIN}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := users.GetUser(t.Context(), &multi.GetUserRequest{Name: "root", Caller: "root"}); err != nil {
			t.Errorf("%s: %v", tr.Name(), err)
		}
		response, err := data.StoreData(t.Context(), &multi.StoreRequest{Caller: "root", Key: "k"})
		if err != nil || response.GetVersion() != int64(i+1) {
			t.Errorf("%s: version %d, error %v, want %d", tr.Name(), response.GetVersion(), err, i+1)
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: close: %v", tr.Name(), err)
		}
	}
}

// startError returns why the plugin does not start on dir.
func startError(t *testing.T, dir string) *host.StartError {
	t.Helper()
	p, err := launch(t.Context(), dir, unix.New())
	if err == nil {
		p.Close()
		t.Fatal("the plugin was started")
	}
	var start *host.StartError
	if !errors.As(err, &start) {
		t.Fatalf("error %v, want a StartError", err)
	}
	return start
}

// If a plugin cannot open its database, the error of the start gives the reason,
// once and completely.
func TestStartFails(t *testing.T) {
	t.Parallel()
	damaged, used := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "multiservice.db"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustLaunch(t, used, unix.New())
	for _, tt := range []struct{ name, dir, want string }{
		{"damaged", damaged, "is damaged: invalid database: put back a copy of the file, or move it away to begin with an empty database"},
		{"in use", used, "is in use by another process, still after 3s: end the host of that plugin, or use another directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := startError(t, tt.dir)
			want := "multiservice-plugin: the database " + filepath.Join(tt.dir, "multiservice.db") + " " + tt.want
			if err.Exit == nil || err.Exit.Code != 1 || strings.TrimSpace(err.Stderr) != want {
				t.Errorf("exit %v, stderr %q, want code 1 and %q", err.Exit, err.Stderr, want)
			}
			if n := strings.Count(err.Error(), want); n != 1 {
				t.Errorf("the error has it %d times: %v", n, err)
			}
		})
	}
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
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"help", []string{"-h"}, 0, "A host starts it, for example: multiservice-host -dir directory\n  -dir directory"},
		{"no directory", nil, 1, "usage: multiservice-plugin -dir directory\n"},
		{"an argument", []string{"-dir", "x", "y"}, 1, "usage: multiservice-plugin -dir directory\n"},
		{"no host", []string{"-dir", t.TempDir()}, 1, "Run the host application instead"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, stdout, stderr := run(t, "multiservice-plugin", tt.args...); code != tt.code || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want exit code %d and %q", code, stdout, stderr, tt.code, tt.want)
			}
		})
	}
}

// The second time the users are there.
func TestHost(t *testing.T) {
	const (
		created = `audit: "" created ann, ROLE_ADMIN
audit: "ann" created bob, ROLE_WRITER
audit: "ann" created joe, ROLE_READER
`
		rest = `bob stored 64 values in \S+
joe may not: PermissionDenied: the caller joe is ROLE_READER, and this takes ROLE_WRITER
wrong name: name must begin with a letter or digit of ASCII, and begins with 'é'
wrong role: role is missing: the roles are ROLE_READER, ROLE_WRITER and ROLE_ADMIN
wrong caller: caller may have letters and digits of ASCII, and . _ - @, and has ' '
the next process has 64 values on 4 pages
`
	)
	dir := filepath.Join(t.TempDir(), "data")
	for _, want := range []string{created + rest, rest} {
		code, stdout, stderr := run(t, "multiservice-host", "-dir", dir)
		if !regexp.MustCompile("^"+want+"$").MatchString(stdout) || code != 0 || stderr != "" {
			t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
		}
	}
}

func TestHostsErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "multiservice.db"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, "multiservice-host", "-dir", dir); code != 1 || stdout != "" || !strings.Contains(stderr, "is damaged: invalid database: put back a copy") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, _, stderr := run(t, "multiservice-host", "-h"); code != 0 || !strings.Contains(stderr, "-dir directory") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}
