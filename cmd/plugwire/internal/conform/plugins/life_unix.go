//go:build unix

package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// setSession makes a command the leader of a session, or leaves it in the group of this
// process.
func setSession(cmd *exec.Cmd, session bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
}

// hostDies starts a host as a process of its own, which starts the plugin, and kills it.
// The plugin inherits a pipe, whose end of file shows that the plugin has ended.
func (s *suite) hostDies(ctx context.Context, c *conform.Case) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c.Own(r)
	defer w.Close() //nolint:errcheck // nothing is written
	spec, err := json.Marshal(hostSpec{Command: c.Command, Dir: c.WorkDir})
	if err != nil {
		return err
	}
	command, err := c.RoleCommand("plugin-host", string(spec))
	if err != nil {
		return err
	}
	// Other users can read the arguments of a process, but not its environment.
	host, err := c.Start(conform.Start{Command: command, Env: s.environ(c, &offer{}), Files: []*os.File{w}})
	if err != nil {
		return err
	}
	_ = w.Close() // the plugin has it, and its host until it has started the plugin
	bounded, cancel := context.WithTimeout(ctx, s.startTimeout)
	defer cancel()
	printed, err := host.Stdout.Wait(bounded, func(b []byte) bool { return bytes.Count(b, []byte("\n")) >= 2 })
	if err != nil {
		return err
	}
	lines := strings.SplitN(string(printed), "\n", 3)
	if len(lines) < 3 {
		return conform.Fail("an answer", "none under a host that is a process of its own", "see the rule "+needAnswer)
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		return fmt.Errorf("the host of the check: %q", lines[0])
	}
	ended := make(chan struct{})
	go func() { // ends with the plugin, or with the case, which closes r
		defer close(ended)
		_, _ = io.Copy(io.Discard, r)
	}()
	// A plugin that does not end must not be left behind.
	c.Own(closerFunc(func() error {
		select {
		case <-ended:
			return nil
		default:
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}))
	if err := host.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	timer := time.NewTimer(s.life)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return conform.Fail("the plugin ends", fmt.Sprintf("it runs %v after its host was killed", s.life),
		"watch the host: wait until nobody reads standard output and standard error, or until the parent process is another one")
}

type closerFunc func() error

// Close implements [io.Closer].
func (f closerFunc) Close() error { return f() }

// lifelineEnds closes the only writing end of the lifeline.
func (s *suite) lifelineEnds(ctx context.Context, c *conform.Case, stopped bool) error {
	p, err := s.start(ctx, c, ours())
	if err != nil {
		return err
	}
	if stopped && runtime.GOOS != "linux" {
		return conform.NotApplicable("only Linux wakes a process at the end of a pipe")
	}
	// The plugin watches its lifeline before it serves.
	if err := p.serves(ctx, "with a lifeline"); err != nil {
		return err
	}
	if stopped {
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
	}
	if err := p.lifeline.Close(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, s.life)
	defer cancel()
	if _, err := p.Wait(bounded); err != nil {
		advice := "watch the lifeline: its end of file means that the host has died"
		if stopped {
			advice = "ask the kernel for SIGCONT at the end of the lifeline"
		}
		return conform.Fail("the plugin ends", fmt.Sprintf("it runs %v after its lifeline has ended", s.life), advice)
	}
	return p.socketGone()
}
