//go:build unix

package foreign_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/transport/unix"
)

// hostVariable makes the test's program a host of the plugin of the stack that
// it names. The test can kill this host.
const hostVariable = "FOREIGN_HOST"

// beHost prints the plugin's process, and waits for the end of its input.
func beHost(name string) int {
	for _, s := range stacks {
		if s.name != name {
			continue
		}
		if err := hold(s.plugin()); err != nil {
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
