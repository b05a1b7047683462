package e2e_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/examples/runners"
	"github.com/plugwire/plugwire/examples/socketpair"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestRunnerWraps wraps the local runner: the plugin keeps all that it has without the
// wrapper.
func TestRunnerWraps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		by    []string
		root  bool // needs it
		check func(t *testing.T, pid int)
	}{
		{name: "nice", by: []string{"nice", "-n", "5"}, check: func(t *testing.T, pid int) {
			t.Helper()
			if prio, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid); err != nil || 20-prio != min(19, niceOf(t, os.Getpid())+5) {
				t.Errorf("niceness %d, %v", 20-prio, err)
			}
		}},
		{name: "setpriv", by: []string{"setpriv", "--no-new-privs"}, check: func(t *testing.T, pid int) {
			t.Helper()
			status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
			if err != nil || !bytes.Contains(status, []byte("NoNewPrivs:\t1")) {
				t.Errorf("%v, status\n%s", err, status)
			}
		}},
		{name: "unshare", by: []string{"unshare", "--net"}, root: true, check: func(t *testing.T, pid int) {
			t.Helper()
			ours, theirs := networkOf(t, "self"), networkOf(t, strconv.Itoa(pid))
			if ours == theirs {
				t.Errorf("the plugin is in network namespace %s, as the host", theirs)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tt.by[0]); err != nil { // part of util-linux or coreutils, which CI has
				t.Skip(err)
			}
			if tt.root && os.Getuid() != 0 {
				t.Skip("it needs root")
			}
			by := host.WithRunner(runners.By{Program: tt.by, Runner: host.LocalRunner()})
			var offer string
			trace := host.WithTrace(&host.Trace{ProcessStart: func(e host.ProcessStartEvent) { offer = strings.Join(e.Env, "\n") }})
			p := launch(t, echoPlugin(), by, trace)
			if info := p.Info(); info.Security != handshake.SecurityPeerCred || info.Transport.Name != unix.Name {
				t.Errorf("%+v, want peer credentials over unix", info)
			}
			assertEcho(t, p)
			tt.check(t, p.Info().PID)
			if !strings.Contains(offer, "|lifeline=") {
				t.Errorf("no lifeline in\n%s", offer)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}

			path := writeProgram(t, []byte("#!/bin/sh\nexec "+command("versions-plugin").Path+" socketpair\n"))
			sum := sumOf(t, crypto.SHA256, path)
			verified := launch(t, exec.Command(path), by, host.WithChecksum(crypto.SHA256, sum), host.WithTransports(socketpair.New(), unix.New()))
			if got := verified.Info().Transport.Name; got != socketpair.New().Name() {
				t.Errorf("over %s, want an inherited connection", got)
			}
			assertEcho(t, verified)
			sum[0]++
			if _, err := host.Launch(testContext(t), exec.Command(path), options(t, by, host.WithChecksum(crypto.SHA256, sum))...); !errors.Is(err, host.ErrChecksum) {
				t.Errorf("another checksum: %v", err)
			}
		})
	}
}

// TestRunnerWrapsHostKilled kills the host: the plugin behind a wrapper ends too.
func TestRunnerWrapsHostKilled(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	h := startHost(t, place, append([]string{"-by", "nice", "hold"}, lifePlugin(t).Args...)...)
	h.awaitWord("ready")
	killHost(t, h.cmd)
	eventually(t, goneWithin, place.left)
}

func niceOf(t *testing.T, pid int) int {
	t.Helper()
	prio, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid)
	if err != nil {
		t.Fatal(err)
	}
	return 20 - prio // as the system call returns it
}

func networkOf(t *testing.T, process string) string {
	t.Helper()
	link, err := os.Readlink("/proc/" + process + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// namelessCredentials is a runner that says that peer credentials do not hold.
type namelessCredentials struct{ host.Runner }

func (namelessCredentials) KeepsCredentials() bool { return false }

func (r namelessCredentials) Unwrap() host.Runner { return r.Runner }

// TestRunnerWithoutCredentials uses a runner for which the host demands mutual TLS.
func TestRunnerWithoutCredentials(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin(), host.WithRunner(namelessCredentials{host.LocalRunner()}))
	if got := p.Info().Security; got != handshake.SecurityMTLS {
		t.Errorf("security %s, want mutual TLS", got)
	}
	assertEcho(t, p)
}

// otherUser starts plugins as another user, without the host's knowledge.
type otherUser struct{ runners.By }

func (otherUser) KeepsCredentials() bool { return false }

// TestSocketGroup starts a plugin as a user that the host does not know, with a group
// that the host shares.
func TestSocketGroup(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can start a plugin as another user")
	}
	const group = "54321"
	as := otherUser{runners.By{
		Program: []string{"setpriv", "--reuid=" + strconv.Itoa(nobody), "--regid=" + strconv.Itoa(nobody), "--groups=" + group},
		Runner:  host.LocalRunner(),
	}}
	if _, err := exec.LookPath(as.Program[0]); err != nil { // part of util-linux or coreutils, which CI has
		t.Skip(err)
	}
	var address string
	trace := host.WithTrace(&host.Trace{Dial: func(e host.DialEvent) { address = e.Address }})
	p := launch(t, echoPlugin(), host.WithRunner(as), host.WithSocketGroup(group), trace)
	assertEcho(t, p)
	info, err := os.Stat(address)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != nobody || strconv.Itoa(int(stat.Gid)) != group || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket has user %d, group %d, mode %v", stat.Uid, stat.Gid, info.Mode())
	}
	if p.Info().Security != handshake.SecurityMTLS {
		t.Errorf("%+v", p.Info())
	}
	_, err = host.Launch(testContext(t), echoPlugin(), options(t, host.WithRunner(as))...)
	assertStartFails(t, err, host.PhaseHandshake, "permission denied")
}

// cgroupsHidden starts crun where it works: crun refuses a system with both versions of
// cgroups, so the second one is hidden from it.
const cgroupsHidden = `
if [ "$(stat -fc %T /sys/fs/cgroup/unified 2>/dev/null)" = cgroup2fs ]; then umount /sys/fs/cgroup/unified; fi
exec "$0" "$@"`

// crun returns a runner of containers, in which the programs of the tests can run.
func crun(t *testing.T) *runners.Crun {
	t.Helper()
	path, err := exec.LookPath("crun")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	case os.Getuid() != 0:
		t.Skip("a container without a user namespace needs root")
	}
	r := &runners.Crun{
		Program: []string{"unshare", "--mount", "sh", "-c", cgroupsHidden, path, "--cgroup-manager=disabled"},
		Rootfs:  t.TempDir(),
		Shared:  []string{binDir},
		Runner:  host.LocalRunner(),
	}
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} { // for programs with the race detector
		if _, err := os.Stat(dir); err == nil {
			r.Shared = append(r.Shared, dir)
		}
	}
	return r
}

// TestRunnerCrun starts plugins in containers: with a socket in the directory that both
// sides see, and with an inherited connection.
func TestRunnerCrun(t *testing.T) {
	t.Parallel()
	r := crun(t)
	t.Run("calls", func(t *testing.T) {
		t.Parallel()
		var dir, dialed, offer string
		p := launch(t, echoPlugin(), host.WithRunner(r), host.WithTrace(&host.Trace{
			ProcessStart: func(e host.ProcessStartEvent) { dir, offer = e.PrivateDir, strings.Join(e.Env, "\n") },
			Dial:         func(e host.DialEvent) { dialed = e.Address },
		}))
		if info := p.Info(); info.Security != handshake.SecurityPeerCred || filepath.Dir(dialed) != dir || !strings.Contains(offer, "|lifeline=") {
			t.Errorf("%+v, dialed %s in %s, offer\n%s", info, dialed, dir, offer)
		}
		assertEcho(t, p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("inherited connection, mutual TLS", func(t *testing.T) {
		t.Parallel()
		p := launch(t, command("versions-plugin", "socketpair"), host.WithRunner(r), host.WithTransports(socketpair.New(), unix.New()), host.WithMutualTLS())
		if info := p.Info(); info.Security != handshake.SecurityMTLS || info.Transport.Name != socketpair.New().Name() {
			t.Errorf("%+v", info)
		}
		assertEcho(t, p)
	})
	t.Run("stuck", func(t *testing.T) {
		t.Parallel()
		p := launch(t, echoPlugin(), host.WithRunner(r))
		pid := strconv.Itoa(p.Info().PID)
		text, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
		if err != nil {
			t.Fatal(err)
		}
		child, err := strconv.Atoi(strings.TrimSpace(string(text))) // the first process of the container
		if err != nil {
			t.Fatal(err)
		}
		stopProcess(t, child)
		_, err = shutdown(p, 100*time.Millisecond)
		if exit, ok := errors.AsType[*host.ExitError](err); !ok || exit.Step != host.StepKill {
			t.Errorf("%v, want that it was killed", err)
		}
		eventually(t, settleTime, func() string { // the process that adopted it takes a moment to wait for it
			if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Sprintf("process %d of the container is left: %v", child, err)
			}
			return ""
		})
	})
	t.Run("host killed", func(t *testing.T) {
		t.Parallel()
		container, err := json.Marshal(map[string]any{"Program": r.Program, "Rootfs": r.Rootfs, "Shared": r.Shared})
		if err != nil {
			t.Fatal(err)
		}
		place := newPlace(t)
		h := startHost(t, place, append([]string{"-crun", string(container), "hold"}, lifePlugin(t).Args...)...)
		h.awaitWord("ready")
		killHost(t, h.cmd)
		eventually(t, goneWithin, place.leftRunning)
	})
	t.Run("no checksum", func(t *testing.T) {
		t.Parallel()
		_, err := host.Launch(testContext(t), echoPlugin(), options(t, host.WithRunner(r), host.WithChecksum(crypto.SHA256, make([]byte, 32)))...)
		assertStartFails(t, err, host.PhasePrepare, "host.WithChecksum and host.WithRunner")
	})
	t.Run("no such program", func(t *testing.T) {
		t.Parallel()
		_, err := host.Launch(testContext(t), exec.Command("/no/such/plugin"), options(t, host.WithRunner(r))...)
		assertStartFails(t, err, host.PhaseHandshake, "/no/such/plugin")
	})
}
