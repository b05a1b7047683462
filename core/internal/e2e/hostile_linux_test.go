package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestHostileHost is a foreign host that opens thousands of calls to a plugin and ends
// none, on a connection for calls and in the multiplexed mode. The plugin is a process,
// so the system shows its memory.
func TestHostileHost(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, mode := range []string{"plain", "multiplexed"} {
		for _, tt := range []struct {
			attack string
			ended  int    // calls that are refused
			says   string // number of calls of each kind
			most   int64  // memory, in bytes
		}{
			{attack: "calls", ended: 3000 - 2048, says: "plugin.WithMaxCalls", most: 200 * mib},
			{attack: "metadata", ended: 300 - 86, says: "plugin.WithMaxBuffered", most: 350 * mib},
			{attack: "unread", ended: 3000 - 2048, says: "plugin.WithMaxCalls", most: 900 * mib},
		} {
			t.Run(mode+" "+tt.attack, func(t *testing.T) {
				t.Parallel()
				pid, path := startUnderGoPlugin(t, mode)
				results := attackPlugin(t, path, mode, tt.attack, tt.ended)
				grown := residentMemory(t, pid)
				t.Logf("the plugin has %d MiB", grown/mib)
				if grown > tt.most && !raceEnabled { // the race detector needs several times this memory
					t.Errorf("the plugin has %d MiB in memory, want at most %d", grown/mib, tt.most/mib)
				}
				ended := 0
				for result, n := range results {
					ended += n
					if !strings.HasPrefix(result, "8 ") || !strings.Contains(result, tt.says) {
						t.Errorf("%d calls ended with %q, want %q", n, result, tt.says)
					}
				}
				if ended != tt.ended {
					t.Errorf("%d calls ended, want %d", ended, tt.ended)
				}
			})
		}
	}
}

// startUnderGoPlugin starts a plugin like a host on go-plugin, and ends it with the
// test.
func startUnderGoPlugin(t *testing.T, mode string) (pid int, path string) {
	t.Helper()
	cmd := echoPlugin()
	cmd.Env = append(os.Environ(), "GOGC=20", "TMPDIR="+shortDir(t), "PLUGIN_MAGIC_COOKIE=plugwire", "PLUGIN_PROTOCOL_VERSIONS=1")
	if mode == "multiplexed" {
		cmd.Env = append(cmd.Env, "PLUGIN_MULTIPLEX_GRPC=true")
	}
	stdout := startProcess(t, cmd)
	line, err := stdout.ReadString('\n')
	fields := strings.Split(line, "|")
	if err != nil || len(fields) < 5 {
		t.Fatalf("the plugin answers %q: %v", line, err)
	}
	return cmd.Process.Pid, fields[3]
}

func attackPlugin(t *testing.T, path, mode, attack string, ended int) (results map[string]int) {
	t.Helper()
	cmd := command("hostile", "on", path, mode, attack, strconv.Itoa(ended))
	stay, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stay.Close() }) // the error is that of the kill
	line, err := startProcess(t, cmd).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &results); err != nil {
		t.Fatal(err)
	}
	return results
}

// startProcess starts a process and returns its standard output. The process is killed when the
// test ends.
func startProcess(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	})
	return bufio.NewReader(stdout)
}

func residentMemory(t *testing.T, pid int) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatalf("%v in %q", err, status)
	}
	return kib << 10
}
