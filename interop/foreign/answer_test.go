//go:build unix

package foreign_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
)

// A startedPlugin is a plugin whose host is the test.
type startedPlugin struct {
	cmd    *exec.Cmd
	answer []string // fields of the answer
	stdout *bufio.Reader
}

// start starts a plugin like a go-plugin host and reads its answer.
func start(t *testing.T, s stack, env ...string) *startedPlugin {
	t.Helper()
	cmd := s.plugin()
	cmd.Env = append(os.Environ(), handshake.DefaultCookieName+"="+handshake.DefaultCookieValue)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	tooLong := time.AfterFunc(hang, func() { _ = cmd.Process.Kill() }) // the plugin may have ended
	t.Cleanup(func() {
		tooLong.Stop()
		_ = cmd.Process.Kill() // the plugin may have ended, as it should
		_ = cmd.Wait()
	})
	p := &startedPlugin{cmd: cmd, stdout: bufio.NewReader(stdout)}
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("the answer is %q: %v", line, err)
	}
	p.answer = strings.Split(strings.TrimSuffix(line, "\n"), "|")
	return p
}

// terminate checks that SIGTERM ends the plugin normally, that SIGINT does not
// end it, and that it printed only the answer.
func (p *startedPlugin) terminate(t *testing.T) {
	t.Helper()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGINT, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := io.ReadAll(p.stdout); len(rest) > 0 || err != nil {
		t.Errorf("after the answer: %q, %v", rest, err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the plugin ended with %v, want exit code 0", err)
	}
}

// TestAnswer checks the answers to offers of hosts of other frameworks. These
// hosts send no directory, and here no certificate.
func TestAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		env     []string
		version string
		network string
		fields  int
	}{
		{name: "of go-plugin", env: []string{"PLUGIN_PROTOCOL_VERSIONS=1,3,2", "PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000"}, version: "2", network: "unix", fields: 6},
		{name: "of an older application", env: []string{"PLUGIN_PROTOCOL_VERSIONS=1"}, version: "1", network: "unix", fields: 6},
		{name: "nothing in common", env: []string{"PLUGIN_PROTOCOL_VERSIONS=7,9"}, version: "1", network: "unix", fields: 6},
		{name: "not only numbers", env: []string{"PLUGIN_PROTOCOL_VERSIONS=two, 2 ,,-1"}, version: "2", network: "unix", fields: 6},
		{name: "no versions", version: "1", network: "unix", fields: 6},
		{name: "multiplexing", env: []string{"PLUGIN_MULTIPLEX_GRPC=true"}, version: "1", network: "unix", fields: 7},
		{name: "tcp first", env: []string{"PLUGIN_TRANSPORTS=carrier-pigeon,tcp,unix"}, version: "1", network: "tcp", fields: 6},
		{name: "unix first", env: []string{"PLUGIN_TRANSPORTS=unix,tcp"}, version: "1", network: "unix", fields: 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range stacks {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.require(t)
					p := start(t, s, tt.env...)
					a := p.answer
					if len(a) != tt.fields || a[0] != "1" || a[1] != tt.version || a[2] != tt.network || a[4] != "grpc" || a[5] != "" {
						t.Errorf("answer %q, want version %s over %s in %d fields, without a certificate", a, tt.version, tt.network, tt.fields)
					}
					if len(a) == 7 && a[6] != "false" {
						t.Errorf("answer %q, want it to say that it does not multiplex", a)
					}
					conn, err := net.Dial(a[2], a[3])
					if err != nil {
						t.Fatalf("nobody is there after the answer: %v", err)
					}
					conn.Close()
					p.terminate(t)
					if _, err := os.Lstat(filepath.Dir(a[3])); a[2] == "unix" && !os.IsNotExist(err) {
						t.Errorf("the directory of %s is left: %v", a[3], err)
					}
				})
			}
		})
	}
}

// TestPorts starts two plugins in a range of ports. One port is in use.
func TestPorts(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.require(t)
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			lowest := taken.Addr().(*net.TCPAddr).Port
			const span = 50 // wide enough if other programs use ports of the range
			env := []string{"PLUGIN_TRANSPORTS=tcp", "PLUGIN_MIN_PORT=" + strconv.Itoa(lowest), "PLUGIN_MAX_PORT=" + strconv.Itoa(lowest+span)}
			used := map[int]bool{lowest: true}
			for range 2 {
				p := start(t, s, env...)
				defer p.terminate(t)
				_, text, err := net.SplitHostPort(p.answer[3])
				port, convErr := strconv.Atoi(text)
				if err != nil || convErr != nil || used[port] || port < lowest || port > lowest+span {
					t.Errorf("address %q; want a free port from %d to %d, and not of %v", p.answer[3], lowest, lowest+span, used)
				}
				used[port] = true
			}
		})
	}
}
