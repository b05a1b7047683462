// Package launch is how a plugin of the benchmark learns where to serve, and tells its
// host that it does. Frameworks that start plugins themselves do not need it.
package launch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The environment variables of a plugin.
const (
	EnvNetwork = "BENCH_NETWORK" // network to listen on: unix or tcp
	EnvDir     = "BENCH_DIR"     // directory for a socket
)

// ready begins the line that tells the host the address.
const ready = "ready "

// readyTimeout is for plugins that hang at their start.
const readyTimeout = time.Minute

// Listen listens where the host wants, and tells the host so.
func Listen() (net.Listener, error) {
	network, address := os.Getenv(EnvNetwork), filepath.Join(os.Getenv(EnvDir), "socket")
	if network == "tcp" {
		address = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(os.Stdout, ready+ln.Addr().String()+"\n")
	return ln, err
}

// Exit ends a plugin, with the error if there is one.
func Exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench plugin:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Process is a plugin that the host has started.
type Process struct {
	Network, Address string // where the plugin serves
	cmd              *exec.Cmd
}

// Start starts a plugin and waits until it serves.
func Start(cmd *exec.Cmd, network string) (p *Process, err error) {
	cmd.Env = append(cmd.Environ(), EnvNetwork+"="+network)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p = &Process{Network: network, cmd: cmd}
	timer := time.AfterFunc(readyTimeout, func() { _ = cmd.Process.Kill() }) // ends the read below
	defer timer.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), ready)
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("%s: not a line with its address: %q (%w)", filepath.Base(cmd.Path), line, err), p.Close())
	}
	p.Address = address
	return p, nil
}

// Dial opens a connection to the plugin.
func (p *Process) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, p.Network, p.Address)
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Close kills the plugin and waits for its end.
func (p *Process) Close() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var exit *exec.ExitError // expected: the signal that killed it
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}
