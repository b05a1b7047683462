//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// holder is the echo service with a method that never ends and reads nothing.
type holder struct{ echo.Handler }

func (holder) Chat(stream grpc.BidiStreamingServer[echopb.Payload, echopb.Payload]) error {
	<-stream.Context().Done()
	return stream.Context().Err()
}

// inUse is the memory that this process has in use, garbage apart.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestHostileCalls starts a plugin that opens thousands of calls to its host and ends
// none. Each call uses as much memory as it can: the host has a limit on each, and its
// error names the option that raises the limit. The test is not parallel, because it
// measures the memory.
func TestHostileCalls(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		attack string
		opts   []host.Option
		ended  int    // calls that are refused
		says   string // number of calls of each kind
		most   int64  // memory, in bytes
	}{
		{attack: "calls", ended: 3000 - 2048, says: "8 2048 calls of the plugin hostile are in flight in the host, which is the limit: raise it with host.WithMaxCalls, or end calls", most: 100 * mib},
		{attack: "metadata", ended: 300 - 86, says: "8 the metadata of the calls of the plugin hostile that are in flight in the host takes 67108864 bytes, which is the limit: raise it with host.WithMaxBuffered, or send less", most: 200 * mib},
		{attack: "unread", ended: 3000 - 2048, says: "host.WithMaxCalls", most: 500 * mib},
		{
			attack: "messages", opts: []host.Option{host.WithMaxMessageSize(16 * mib), host.WithMaxBuffered(64 * mib)},
			ended: 36, says: "message larger than max", most: 200 * mib,
		},
	} {
		t.Run(tt.attack, func(t *testing.T) {
			before := inUse()
			p, err := host.Launch(testContext(t), command("hostile", tt.attack), options(t, append(tt.opts, host.WithServices(echopb.ServeEcho(holder{})))...)...)
			if err != nil {
				t.Fatal(err)
			}
			defer shutdown(p, 0)
			resp, err := echopb.NewEchoClient(p).Unary(testContext(t), payload(strconv.Itoa(tt.ended)))
			if err != nil {
				t.Fatal(err)
			}
			grown := inUse() - before
			t.Logf("the memory in use has grown by %d MiB", grown/mib)
			if grown > tt.most {
				t.Errorf("the memory in use has grown by %d MiB, want at most %d", grown/mib, tt.most/mib)
			}
			var results map[string]int
			if err := json.Unmarshal(resp.GetData(), &results); err != nil {
				t.Fatal(err)
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

// TestPeersDoNotWriteToStandardError starts plugins whose bytes make a library log
// warnings: these go to the host's logger, not to its standard error.
func TestPeersDoNotWriteToStandardError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		attack string
		says   string
	}{
		{attack: "goaway", says: "grpc reports an error"},
		{attack: "garbage"},
		{attack: "unknown"},
		{attack: "text"},
	} {
		t.Run(tt.attack, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			cmd := command("hostile", "host", tt.attack)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
			if stderr.Len() > 0 {
				t.Errorf("the host has written %d bytes to its standard error:\n%.1000s", stderr.Len(), stderr.String())
			}
			if tt.says == "" {
				return
			}
			if n := strings.Count(stdout.String(), tt.says); n < 1 || n > 10 {
				t.Errorf("the log says it %d times:\n%.2000s", n, stdout.String())
			}
		})
	}
}
