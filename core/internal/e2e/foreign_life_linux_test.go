package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"syscall"
	"testing"
)

// TestChildrenUnderGoPlugin checks that processes that our plugin starts under a host
// on go-plugin end with the plugin, however it ends. Such a host knows only the
// plugin's process.
func TestChildrenUnderGoPlugin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(host, plugin int, stdin io.Closer) error
	}{
		{"host killed", func(host, _ int, _ io.Closer) error { return syscall.Kill(host, syscall.SIGKILL) }},
		{"plugin killed", func(_, plugin int, _ io.Closer) error { return syscall.Kill(plugin, syscall.SIGKILL) }},
		{"both killed", func(host, plugin int, _ io.Closer) error {
			_ = syscall.Kill(plugin, syscall.SIGSTOP) // the plugin cannot do anything any more
			_ = syscall.Kill(host, syscall.SIGKILL)
			return syscall.Kill(plugin, syscall.SIGKILL)
		}},
		{"orderly", func(_, _ int, stdin io.Closer) error { return stdin.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			place := newPlace(t)
			h := command("goplugin-peer", "host", "-child", lifePlugin(t).Path)
			h.Env = place.env()
			stdin, err := h.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := h.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(stdout)
			var child, plugin int
			for range 2 { // the first line says that the plugin was called
				line, err := lines.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				_, _ = fmt.Sscanf(line, "child %d of %d", &child, &plugin)
			}
			if err := tt.end(h.Process.Pid, plugin, stdin); err != nil {
				t.Error(err)
			}
			eventually(t, goneWithin, func() string {
				if state, _, ok := processState(child); ok && state != "Z" {
					return describeProcess(child) + " is left"
				}
				return ""
			})
			_ = stdin.Close() // it may be closed already
			_ = h.Wait()      // it may have been killed, like its plugin
		})
	}
}
