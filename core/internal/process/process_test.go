//go:build unix

package process_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang is how long a test waits before it fails.
const hang = time.Minute

// finishedProcess is a process that has ended, with all its output.
type finishedProcess struct {
	*process.Process
	stdout, stderr string
	status         process.Status
}

// start starts a shell script.
func start(t *testing.T, script string, change ...func(*exec.Cmd)) *process.Process {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	for _, f := range change {
		f(cmd)
	}
	p, err := process.Start(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() }) // an error is of one that ended long ago
	return p
}

// finish reads all output and waits.
func finish(t *testing.T, p *process.Process) finishedProcess {
	t.Helper()
	s := finishedProcess{Process: p}
	stdout, stderr := p.Output()
	var group sync.WaitGroup
	for f, text := range map[*os.File]*string{stdout: &s.stdout, stderr: &s.stderr} {
		group.Go(func() {
			data, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Error(err)
			}
			*text = string(data)
		})
	}
	group.Wait()
	done := make(chan error, 1)
	go func() {
		var err error
		s.status, err = p.Wait()
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hang):
		t.Fatalf("the process goes on after %v", hang)
	}
	return s
}

func TestOutputAndExit(t *testing.T) {
	t.Parallel()
	s := finish(t, start(t, "echo out; echo err >&2; exit 3"))
	if s.stdout != "out\n" || s.stderr != "err\n" || s.status != (process.Status{Code: 3}) {
		t.Errorf("%+v", s)
	}
	if status, err := s.Wait(); status != s.status || err != nil {
		t.Errorf("second Wait: %+v, %v", status, err)
	}
	if err := errors.Join(s.Terminate(), s.Kill()); err != nil {
		t.Errorf("a signal to what has ended: %v", err)
	}
}

func TestStandardInputIsEmpty(t *testing.T) {
	t.Parallel()
	if s := finish(t, start(t, "cat; echo end")); s.stdout != "end\n" || s.status != (process.Status{}) {
		t.Errorf("%+v", s)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*process.Process) error{
		"terminated": (*process.Process).Terminate,
		"killed":     (*process.Process).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "exec sleep 1000")
			if err := send(p); err != nil {
				t.Fatal(err)
			}
			if s := finish(t, p); s.status != (process.Status{Signal: name}) {
				t.Errorf("%+v, want signal %q", s.status, name)
			}
		})
	}
}

// TestGroup starts children that outlive their leader, which ends or is killed. They hold the
// output, so its end shows theirs.
func TestGroup(t *testing.T) {
	t.Parallel()
	t.Run("leader exits", func(t *testing.T) {
		t.Parallel()
		if s := finish(t, start(t, "sleep 1000 & sleep 1000 & exit 5")); s.status != (process.Status{Code: 5}) {
			t.Errorf("%+v, want code 5", s.status)
		}
	})
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		p := start(t, "trap '' TERM; sleep 1000 & echo ready; sleep 1000; sleep 1000")
		stdout, _ := p.Output()
		if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if s := finish(t, p); s.status != (process.Status{Signal: "killed"}) {
			t.Errorf("%+v, want signal killed", s.status)
		}
	})
	t.Run("of its own", func(t *testing.T) {
		t.Parallel()
		p := start(t, "read forever < /dev/zero")
		if pgid, err := syscall.Getpgid(p.PID()); err != nil || pgid != p.PID() {
			t.Errorf("group %d, %v; want %d", pgid, err, p.PID())
		}
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		finish(t, p)
	})
	for name, attr := range map[string]syscall.SysProcAttr{"session": {Setsid: true}, "group and no terminal": {Setpgid: true, Noctty: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "sleep 1000 & wait", func(cmd *exec.Cmd) { cmd.SysProcAttr = &attr })
			if sid, err := unix.Getsid(p.PID()); err != nil || sid != p.PID() {
				t.Errorf("session %d, %v; want %d", sid, err, p.PID())
			}
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
			finish(t, p)
		})
	}
}

func TestCannotStart(t *testing.T) {
	t.Parallel()
	for _, cmd := range []*exec.Cmd{
		{Path: "/no/such/program"},
		{Path: "/bin/sh", SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pgid: 1}},
		{Path: "/bin/sh", SysProcAttr: &syscall.SysProcAttr{Foreground: true}},
	} {
		if p, err := process.Start(cmd, nil); err == nil {
			t.Errorf("%+v: started as process %d", cmd, p.PID())
		}
	}
}

// TestEnvironmentAndFiles starts a process with variables and files of the caller.
func TestEnvironmentAndFiles(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.WriteString(w, "inherited"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := finish(t, start(t, `cat <&3; echo " $VALUE"; pwd`, func(cmd *exec.Cmd) {
		cmd.ExtraFiles = []*os.File{r}
		cmd.Env = []string{"VALUE=5", "PATH=" + os.Getenv("PATH")}
		cmd.Dir = dir
	}))
	if lines := strings.Split(s.stdout, "\n"); lines[0] != "inherited 5" || !strings.HasSuffix(lines[1], dir) {
		t.Errorf("stdout %q, stderr %q", s.stdout, s.stderr)
	}
}
