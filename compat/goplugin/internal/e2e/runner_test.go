//go:build unix

package plugin_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/plugwire/plugwire/compat/goplugin"
	"github.com/plugwire/plugwire/compat/goplugin/runner"
)

// processRunner is a runner of processes that translates addresses.
type processRunner struct {
	cmd            *exec.Cmd
	stdout, stderr io.ReadCloser
	translated     *int
}

var _ runner.Runner = (*processRunner)(nil)

func (r *processRunner) Start(context.Context) error {
	var err, err2 error
	r.stdout, err = r.cmd.StdoutPipe()
	r.stderr, err2 = r.cmd.StderrPipe()
	return errors.Join(err, err2, r.cmd.Start())
}

func (r *processRunner) Diagnose(context.Context) string { return "it is a test" }
func (r *processRunner) Stdout() io.ReadCloser           { return r.stdout }
func (r *processRunner) Stderr() io.ReadCloser           { return r.stderr }
func (r *processRunner) Name() string                    { return "test" }
func (r *processRunner) ID() string                      { return "process " + strconv.Itoa(r.cmd.Process.Pid) }
func (r *processRunner) Kill(context.Context) error      { return r.cmd.Process.Kill() }

func (r *processRunner) Wait(context.Context) error {
	_, err := r.cmd.Process.Wait()
	return err
}

// In the plugin's eyes, its sockets are below another path.
const prefix = "/elsewhere"

func (r *processRunner) PluginToHost(network, address string) (string, string, error) {
	*r.translated++
	return network, strings.TrimPrefix(address, prefix), nil
}

func (r *processRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// TestRunnerFunc starts a plugin by a runner.
func TestRunnerFunc(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	program := cfg.Cmd.Path
	cfg.Cmd = nil
	var dir string
	translated := 0
	cfg.RunnerFunc = func(l hclog.Logger, cmd *exec.Cmd, tmpDir string) (runner.Runner, error) {
		if l == nil || cmd.Path != "" || !contains(cmd.Env, handshake.MagicCookieKey+"="+handshake.MagicCookieValue) || !contains(cmd.Env, plugin.EnvUnixSocketDir+"="+tmpDir) {
			t.Errorf("the runner gets %q, %q", cmd.Path, cmd.Env)
		}
		dir = tmpDir
		cmd.Path, cmd.Args, cmd.Err = program, []string{program}, nil
		cmd.Env = append(cmd.Env, role+"=plain")
		return &processRunner{cmd: cmd, translated: &translated}, nil
	}
	c, d := start(t, cfg)
	checkBroker(t, d)
	addr, err := c.Start()
	if err != nil || !strings.HasPrefix(addr.String(), dir) || translated == 0 {
		t.Errorf("%v, %v, translated %d times", addr, err, translated)
	}
	if !strings.HasPrefix(c.ID(), "process ") {
		t.Errorf("ID %q", c.ID())
	}
	c.Kill()
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is left")
	}
	cfg.RunnerFunc = func(hclog.Logger, *exec.Cmd, string) (runner.Runner, error) {
		return nil, errors.New("no runner today")
	}
	if _, err := plugin.NewClient(cfg).Client(); err == nil || !strings.Contains(err.Error(), "no runner today") {
		t.Error(err)
	}
}

// TestReattachFunc attaches to what a function finds.
func TestReattachFunc(t *testing.T) {
	t.Parallel()
	first, _ := start(t, config(t, "plain"))
	to := first.ReattachConfig()
	process, err := os.FindProcess(to.Pid)
	if err != nil {
		t.Fatal(err)
	}
	to.ReattachFunc = func() (runner.AttachedRunner, error) { return &foundProcess{process}, nil }
	second, d := start(t, reattached(t, to))
	check(t, d, "echo:works", "works")
	if second.ID() != "found" {
		t.Errorf("ID %q", second.ID())
	}
	second.Kill()
	if !second.Exited() {
		t.Error("it has not ended")
	}
}

// foundProcess is a process that is not a child of this one, for the test.
type foundProcess struct{ *os.Process }

var _ runner.AttachedRunner = (*foundProcess)(nil)

func (p *foundProcess) ID() string                 { return "found" }
func (p *foundProcess) Kill(context.Context) error { return p.Process.Kill() }

func (p *foundProcess) Wait(ctx context.Context) error {
	for p.Signal(syscall.Signal(0)) == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *foundProcess) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *foundProcess) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
