package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
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
	if bin, err = os.MkdirTemp("", "dataprocessor-"); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../dataprocessor-host"),
		exec.Command(filepath.Join(bin, "dataprocessor-host")),
	} {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // same settings as go tool mage build, to share its build cache
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, output)
		}
	}
	return nil
}

// launch starts the plugin, and stops it when the test ends. The host sends larger messages than the plugin
// accepts.
func launch(t *testing.T, tr transport.Transport) *host.Plugin {
	t.Helper()
	started, err := host.Launch(t.Context(), exec.Command(filepath.Join(bin, "dataprocessor-plugin")),
		host.WithProtocols(example.DataProcessorProtocol),
		host.WithTransports(tr),
		host.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := started.Close(); err != nil {
			t.Error(err)
		}
	})
	return started
}

func TestWorkOverEachTransport(t *testing.T) {
	for _, tt := range []struct {
		transport         transport.Transport
		session, security string
	}{
		{unix.New(), "direct", "peercred"},
		{quic.New(), "native", "mtls"},
		{tcp.New(), "direct", "mtls"},
	} {
		t.Run(tt.transport.Name(), func(t *testing.T) {
			p := launch(t, tt.transport)
			if info := p.Info(); info.Transport.Name != tt.transport.Name() || info.Session != tt.session || info.Security != tt.security {
				t.Errorf("negotiated %+v", info)
			}
			client := example.NewDataProcessorClient(p)
			data := strings.Repeat("é ", 500<<10) // more than a read, and less than the limit
			response, err := client.ProcessData(t.Context(), &example.ProcessRequest{Data: data, Options: map[string]string{"uppercase": "true"}})
			if err != nil || response.GetResult() != strings.ToUpper(data) {
				t.Errorf("%d bytes of result, error %v", len(response.GetResult()), err)
			}
			stream, err := client.StreamResults(t.Context(), &example.StreamRequest{Query: "É"})
			if err != nil {
				t.Fatal(err)
			}
			if item, err := stream.Recv(); err != nil || item.GetData() != strings.ToUpper(data) {
				t.Errorf("%d bytes of the stored result, error %v", len(item.GetData()), err)
			}
			if _, err := client.ProcessData(t.Context(), &example.ProcessRequest{}); status.Code(err) != codes.InvalidArgument {
				t.Errorf("error %v, want InvalidArgument", err)
			}
		})
	}
}

// run runs a command and returns its exit code and output.
func run(t *testing.T, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var errs strings.Builder
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out), errs.String()
}

func TestPluginByHand(t *testing.T) {
	if code, stdout, stderr := run(t, "dataprocessor-plugin"); code != 1 || stdout != "" || strings.Count(stderr, "\n") != 2 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// The host returns thousands of lines complete and in order.
func TestHost(t *testing.T) {
	var input, want strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&input, "plugin %d\n", i)
		fmt.Fprintf(&want, "PLUGIN %d\n", i)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(input.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t, "dataprocessor-host", file)
	begin, rest, _ := strings.Cut(stdout, "\n\n")
	results, end, _ := strings.Cut(rest, "\nstored as ")
	if code != 0 || stderr != "" || !strings.HasPrefix(begin, "example version 1 over unix/1, ") || results != want.String() {
		t.Errorf("exit code %d, stderr %q, stdout %.200q ...", code, stderr, stdout)
	}
	if !strings.Contains(end, "\nrefused: rpc error: code = InvalidArgument desc = unknown option \"rot13\"") {
		t.Errorf("the output ends with %q", end)
	}
}

func TestHostsErrors(t *testing.T) {
	if code, stdout, stderr := run(t, "dataprocessor-host", "absent"); code != 1 || stdout != "" || !strings.HasPrefix(stderr, "dataprocessor-host: open absent: ") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text\n"+strings.Repeat("x", 2<<20+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, "dataprocessor-host", file); code != 1 || !strings.HasSuffix(stdout, "\n\nTEXT\n") || !strings.Contains(stderr, "InvalidArgument") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
