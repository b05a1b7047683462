package leash_test

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/leash"
	"github.com/plugwire/plugwire/core/internal/process"
)

func newTestLeash(t *testing.T) *leash.Leash {
	t.Helper()
	l, err := leash.New()
	if err != nil {
		t.Skipf("this system has no leash: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

// echoProcess is a process that writes what it reads.
type echoProcess struct {
	*process.Process
	stdin, stdout *os.File
}

func startLeashed(t *testing.T, l *leash.Leash) *echoProcess {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/cat")
	cmd.Stdin = r
	p, err := process.Start(cmd, l)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := p.Output()
	t.Cleanup(func() {
		_ = p.Kill()    // an error is of one that has ended
		_, _ = p.Wait() // only its end counts
		for _, f := range []*os.File{r, w, stdout, stderr} {
			_ = f.Close() // the test is over
		}
	})
	return &echoProcess{p, w, stdout}
}

// assertLives makes a round trip. A process that got SIGKILL before cannot answer.
func (p *echoProcess) assertLives(t *testing.T) {
	t.Helper()
	if _, err := p.stdin.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.stdout, make([]byte, 1)); err != nil {
		t.Fatalf("the process has ended: %v", err)
	}
}

// closeHolder closes what a process holds, like the kernel does when the process ends.
func closeHolder(t *testing.T, h *leash.Holder, order [3]int) {
	t.Helper()
	for _, i := range order {
		if err := unix.Close(h[i]); err != nil {
			t.Fatal(err)
		}
		h[i] = -1
	}
}

// TestLeashHolders closes the holders of a leash. The group ends with the last, not before.
func TestLeashHolders(t *testing.T) {
	for name, order := range map[string][3]int{"rising": {0, 1, 2}, "falling": {2, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			l := newTestLeash(t)
			p := startLeashed(t, l)
			p.assertLives(t)
			other, err := leash.NewHolder(l.File())
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Tie(p.PID()); err != nil {
				t.Fatal(err)
			}
			p.assertLives(t)
			closeHolder(t, leash.HolderOf(l), order)
			p.assertLives(t)
			closeHolder(t, &other, order)
			if status, err := p.Wait(); err != nil || status.Signal != "killed" {
				t.Errorf("it ended by %+v, %v", status, err)
			}
		})
	}
}

// TestLeashGivenUp closes a leash while its group lives. The group goes on.
func TestLeashGivenUp(t *testing.T) {
	l := newTestLeash(t)
	p := startLeashed(t, l)
	l.Close()
	*leash.HolderOf(l) = leash.Holder{-1, -1, -1}
	p.assertLives(t)
}

// TestLeashOfOneThatWasWaitedFor ties a leash to a process that was waited for, whose number
// may belong to another process by now.
func TestLeashOfOneThatWasWaitedFor(t *testing.T) {
	l := newTestLeash(t)
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := l.TieTo(cmd.Process); err != nil {
		t.Fatal(err)
	}
	for _, reader := range []int{leash.HolderOf(l)[0], leash.HolderOf(l)[2]} {
		if owner, err := unix.FcntlInt(uintptr(reader), unix.F_GETOWN, 0); err != nil || owner != 0 {
			t.Errorf("the leash is tied to %d, %v", owner, err)
		}
	}
}
