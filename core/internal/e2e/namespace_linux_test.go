package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestLaunchFromANamespace launches a plugin from a thread with a network namespace of
// its own, like programs that configure one (LockOSThread, then unshare or setns). The
// plugin is in that namespace, and outlives the thread.
func TestLaunchFromANamespace(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	opts := options(t)
	cmd := echoPlugin()
	var p *host.Plugin
	var thread string
	var err error
	launched := make(chan struct{})
	go func() {
		defer close(launched)
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		if err = syscall.Unshare(syscall.CLONE_NEWNET); err == nil {
			thread, err = os.Readlink("/proc/thread-self/ns/net")
		}
		if err == nil {
			p, err = host.Launch(testContext(t), cmd, opts...)
		}
	}()
	waitFor(t, "the launch", launched)
	if err != nil {
		t.Fatal(err)
	}
	if plugin := netNamespace(t, p.Info().PID); plugin != thread {
		t.Errorf("the plugin is in %s, the thread that launched it in %s", plugin, thread)
	}
	if _, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("alive")); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestHostOfANamespaceKilled kills a host whose plugin was launched from such a thread:
// the parent-death signal would have followed the thread.
func TestHostOfANamespaceKilled(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	plugin := lifePlugin(t)
	for name, cmd := range map[string]*exec.Cmd{
		"plugwire": plugin,
		"foreign":  foreign(plugin),
		"foreign, without what it inherits": byScript(plugin,
			`unset PLUGWIRE_OFFER; exec "$0" "$@" 3<&- 4<&- 5<&- 6<&-`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := newPlace(t)
			h := startHost(t, place, slices.Concat([]string{"-netns", "-how", "spawn", "hold"}, cmd.Args)...)
			pid := atoi(t, h.awaitWord("started"))
			h.awaitWord("ready")
			// The namespace of the parent is not that of the changed thread.
			if name := netNamespace(t, pid); name == netNamespace(t, os.Getppid()) {
				t.Errorf("the plugin is in %s, the namespace of all", name)
			}
			killHost(t, h.cmd)
			eventually(t, goneWithin, place.leftRunning)
		})
	}
}

// netNamespace returns the network namespace of a process's main thread.
func netNamespace(tb testing.TB, pid int) string {
	tb.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		tb.Fatal(err)
	}
	return name
}
