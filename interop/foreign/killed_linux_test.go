package foreign_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plugwire/plugwire/core/host"
)

// goneWithin bounds how long a plugin's processes may run after its host was
// killed. They usually end at once, but not on a busy machine. Nothing else ends
// the plugin.
const goneWithin = hang / 2

// TestHostKilled kills a host and checks that its plugin ends too. The next
// host removes the directory with the socket.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.require(t)
			dir := killHost(t, "plugwire", s)
			p, err := host.Launch(testContext(t), s.plugin(), options(t)...)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			eventually(t, hang, func() string {
				if _, err := os.Lstat(dir); !os.IsNotExist(err) {
					return fmt.Sprintf("directory %s is left: %v", dir, err)
				}
				return ""
			})
		})
	}
}

// TestForeignHostKilled kills a host whose plugin does not end by the kernel. The plugin
// ends, and removes its socket.
func TestForeignHostKilled(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.require(t)
			socket := killHost(t, "another", s)
			if _, err := os.Lstat(filepath.Dir(socket)); !os.IsNotExist(err) {
				t.Errorf("the directory of %s is left: %v", socket, err)
			}
		})
	}
}

// killHost kills a host of the framework, and waits for the end of its plugin. It returns
// the path that the host has printed.
func killHost(t *testing.T, framework string, s stack) (path string) {
	t.Helper()
	killed := exec.Command(os.Args[0])
	killed.Env = append(os.Environ(), hostVariable+"="+framework+"/"+s.name)
	killed.Stderr = t.Output()
	stdin, err := killed.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := killed.StdoutPipe()
	if err == nil {
		err = killed.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscanln(bufio.NewReader(stdout), &pid, &path)
	killErr := killed.Process.Kill()
	_ = killed.Wait() // the error says that the host was killed
	if err != nil || killErr != nil {
		t.Fatalf("what the host says: %v, %v", err, killErr)
	}
	eventually(t, goneWithin, func() string {
		// A process that has ended has no program, whether it was reaped
		// or not.
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
			return fmt.Sprintf("the plugin, process %d, lives on", pid)
		}
		return ""
	})
	return path
}
