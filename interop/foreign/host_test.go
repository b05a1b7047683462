//go:build unix

package foreign_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/transport/unix"
)

// hostVariable makes the test's program a host. The value is the framework of the
// host, a slash, and the stack of its plugin. The test can kill this host.
const hostVariable = "FOREIGN_HOST"

// holders are the hosts by their framework. Each prints the plugin's process, and the
// socket or its directory. Then it waits for the end of its input.
var holders = map[string]func(*exec.Cmd) error{"plugwire": hold, "another": holdPlain}

func beHost(value string) int {
	framework, name, _ := strings.Cut(value, "/")
	for _, s := range stacks {
		if s.name != name {
			continue
		}
		if err := holders[framework](s.plugin()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func hold(cmd *exec.Cmd) error {
	var dir string
	trace := &host.Trace{ProcessStart: func(e host.ProcessStartEvent) { dir = e.PrivateDir }}
	p, err := host.Launch(context.Background(), cmd, host.WithProtocols(version(1)), host.WithTransports(unix.New()), host.WithTrace(trace))
	if err != nil {
		return err
	}
	defer p.Close()
	fmt.Println(p.Info().PID, dir)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// holdPlain is a host that only reads what its plugin prints, as hosts of other
// frameworks do. The kernel does not end the plugin with it.
func holdPlain(cmd *exec.Cmd) error {
	cmd.Env = append(os.Environ(), handshake.DefaultCookieName+"="+handshake.DefaultCookieValue)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	printed := bufio.NewReader(stdout)
	answer, err := printed.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the answer is %q: %w", answer, err)
	}
	fmt.Println(cmd.Process.Pid, strings.Split(answer, "|")[3])
	for _, output := range []io.Reader{printed, stderr} {
		go func() { _, _ = io.Copy(io.Discard, output) }() // until this process is killed
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
