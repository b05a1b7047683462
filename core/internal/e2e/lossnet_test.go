//go:build linux

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// These are the two ends of a lossy network, and the rules by which each drops
// two of a hundred incoming packets.
const (
	hostIP   = "10.0.0.1"
	pluginIP = "10.0.0.2"

	lossRules = `
table inet loss {
	counter arrived {}
	counter dropped {}
	chain in {
		type filter hook input priority 0
		iifname "veth" counter name arrived
		iifname "veth" numgen random mod 1000 < 20 counter name dropped drop
	}
}
`
)

// lossyNetwork is two network namespaces with a pair of interfaces.
type lossyNetwork struct{ host, plugin *namespace }

// newLossyNetwork makes a network that ends with the test, however the test
// ends: the namespaces have no names, and exist only as long as a process has
// them open. It skips the test if the system cannot make one.
func newLossyNetwork(tb testing.TB) lossyNetwork {
	tb.Helper()
	for _, program := range []string{"ip", "nft", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				tb.Fatalf("a program is missing: %v", err)
			}
			tb.Skipf("skipped, as a program is missing: %v", err)
		}
	}
	n := lossyNetwork{host: newNamespace(tb, "host"), plugin: newNamespace(tb, "plugin")}
	n.host.configure(tb, "", "ip", "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", n.plugin.path())
	for _, end := range []struct {
		*namespace
		ip string
	}{{n.host, hostIP}, {n.plugin, pluginIP}} {
		// The rules must drop packets of the size on a wire, not the large ones
		// that the kernel would split for a network card.
		end.configure(tb, "", "ip", "link", "set", "veth", "gso_max_segs", "1", "up")
		end.configure(tb, "", "ip", "address", "add", end.ip+"/24", "dev", "veth")
		end.configure(tb, lossRules, "nft", "-f", "-")
	}
	return n
}

// namespace is a network namespace.
type namespace struct {
	name string // for messages
	file *os.File
}

func newNamespace(tb testing.TB, name string) *namespace {
	tb.Helper()
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		err := os.NewSyscallError("unshare", syscall.Unshare(syscall.CLONE_NEWNET))
		var file *os.File
		if err == nil {
			file, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- result{file, err}
	}()
	r := <-made
	switch {
	case errors.Is(r.err, syscall.EPERM), errors.Is(r.err, syscall.EINVAL), errors.Is(r.err, syscall.ENOSYS):
		tb.Skipf("skipped, as this process can make no network namespace: %v", r.err)
	case r.err != nil:
		tb.Fatal(r.err)
	}
	tb.Cleanup(func() {
		if err := r.file.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &namespace{name: name, file: r.file}
}

// path is the path of the namespace for child processes.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// command returns a command that runs in the namespace.
func (n *namespace) command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + n.path(), "--", name}, args...)...)
}

// configure runs a command in the namespace. It skips the test if the kernel
// does not support it.
func (n *namespace) configure(tb testing.TB, stdin, name string, args ...string) {
	tb.Helper()
	cmd := n.command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	for _, complaint := range []string{"not supported", "Unknown device type", "Could not process rule: No such file or directory"} {
		if strings.Contains(string(out), complaint) {
			tb.Skipf("skipped, as the kernel cannot do this: %s: %v\n%s", cmd, err, out)
		}
	}
	tb.Fatalf("%s: %v\n%s", cmd, err, out)
}

// counters returns how many packets the named counters have counted.
func (n *namespace) counters(tb testing.TB) map[string]int64 {
	tb.Helper()
	cmd := n.command("nft", "-j", "list", "counters")
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v", cmd, err)
	}
	var list struct {
		Objects []struct {
			Counter struct {
				Name    string `json:"name"`
				Packets int64  `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		tb.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	counters := make(map[string]int64)
	for _, object := range list.Objects {
		counters[object.Counter.Name] = object.Counter.Packets
	}
	return counters
}
