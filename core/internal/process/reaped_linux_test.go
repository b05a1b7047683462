package process_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/process"
)

// TestStatusTakenByOthers runs processes in a host in which other code waits for all children
// too, as go-reaper and the init of a container do.
func TestStatusTakenByOthers(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(*testing.T){
		"wait4 loop":      waitForAll,
		"SIGCHLD ignored": func(*testing.T) { signal.Ignore(syscall.SIGCHLD) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !inOwnProcess(t, nil) {
				return
			}
			take(t)
			for _, test := range []struct {
				script string
				want   process.Status
			}{
				{"exit 0", process.Status{}},
				{"exit 3", process.Status{Code: 3}},
				{"kill -KILL $$", process.Status{Signal: "killed"}},
				{"echo out; sleep 1000 & exit 3", process.Status{Code: 3}}, // the sleep holds the output
			} {
				for range 10 {
					s := finish(t, start(t, test.script))
					if s.status != test.want && s.status != (process.Status{Unknown: true}) {
						t.Errorf("%s: %+v, want %+v or an unknown one", test.script, s.status, test.want)
					}
				}
			}
			p := start(t, "exec sleep 1000")
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
			finish(t, p)
			if p, err := process.Start(&exec.Cmd{Path: "/no/such/program"}, nil); err == nil {
				t.Errorf("started as process %d", p.PID())
			}
		})
	}
}

// waitForAll takes the status of every child until the test ends.
func waitForAll(t *testing.T) {
	t.Helper()
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			if _, err := syscall.Wait4(-1, nil, 0, nil); errors.Is(err, syscall.ECHILD) {
				time.Sleep(time.Millisecond) // there are no children
			}
		}
	}()
	t.Cleanup(func() {
		over.Store(true)
		<-done
	})
}

// TestNumberOfAnother gives the number of a group's leader, which other code has reaped, to a
// new process that leads a group. No signal for the first group may reach the second. Where
// the system allows it, the signal reaches the rest of the first.
func TestNumberOfAnother(t *testing.T) { //nolint:tparallel // its subtests use the same number
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make a namespace of process numbers")
	}
	// In a namespace of its own, no other process takes the number.
	if !inOwnProcess(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}) {
		return
	}
	for name, kill := range map[string]func(*process.Group) error{
		"now":              (*process.Group).Kill,
		"before Linux 6.9": (*process.Group).KillOlder,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("/bin/true")
			g, err := process.NewGroup(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := g.Started(cmd.Process); err != nil {
				t.Fatal(err)
			}
			number := cmd.Process.Pid
			var status syscall.WaitStatus
			if _, err := syscall.Wait4(number, &status, 0, nil); err != nil {
				t.Fatal(err)
			}
			another := startAs(t, number)
			if err := kill(g); err != nil {
				t.Error(err)
			}
			// A signal to the process would have ended it before this one.
			if err := another.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = another.Wait() // by a signal
			if got := another.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != syscall.SIGTERM {
				t.Errorf("another process with number %d got %v", number, got)
			}
		})
	}
}

// startAs starts a process with the given number, which leads a group.
func startAs(t *testing.T, number int) *exec.Cmd {
	t.Helper()
	const last = "/proc/sys/kernel/ns_last_pid"
	for range 1000 { // a thread of this process can take the number
		if err := os.WriteFile(last, []byte(strconv.Itoa(number-1)), 0); err != nil {
			t.Skipf("this system gives no choice of numbers: %v", err)
		}
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == number {
			return cmd
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	t.Fatalf("no process got number %d", number)
	return nil
}

// TestGroupOutlivesReapedLeader ends the rest of a group whose leader other code has reaped.
func TestGroupOutlivesReapedLeader(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & exit 0")
	g, err := process.NewGroup(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := g.Started(cmd.Process); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Wait4(cmd.Process.Pid, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.PidfdSendSignal(pidfd(t), 0, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP); errors.Is(err, unix.EINVAL) {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		t.Skip("before Linux 6.9 nothing is sent to a group whose leader is gone")
	}
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("what was left goes on: %v", err)
	}
}

// pidfd returns a descriptor of this process.
func pidfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
