package clitest

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

// A Bloat is a request in which each byte takes as much memory as possible.
type Bloat struct {
	Protocol *protocol.Protocol
	Method   string
	Part     func(i int) []byte // part that the request repeats
}

// WantBounded sends such requests to a plugin that [Main] has built: requests of
// the largest size that it accepts, and many times larger. It checks that the
// plugin refuses them, and never uses more than maxResident bytes of memory.
func (b Bloat) WantBounded(t *testing.T, plugin string, maxMessage int, maxResident int64) {
	t.Helper()
	p, err := host.Launch(t.Context(), exec.Command(Path(plugin)), //nolint:gosec // one that Main has built
		host.WithProtocols(b.Protocol),
		host.WithTransports(unix.New()),
		host.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	var largest []byte
	for i := 0; len(largest) < maxMessage-16; i++ {
		largest = append(largest, b.Part(i)...)
	}
	for times, want := range map[int]codes.Code{1: codes.InvalidArgument, 16: codes.ResourceExhausted} {
		request := new(emptypb.Empty)
		request.ProtoReflect().SetUnknown(bytes.Repeat(largest, times))
		for range 3 { // the garbage collector has no time between the requests
			if err := p.Invoke(t.Context(), b.Method, request, new(emptypb.Empty)); status.Code(err) != want {
				t.Errorf("%d times the largest request: error %v, want %v", times, err, want)
			}
		}
	}
	resident := Peak(p.Info().PID)
	t.Logf("the plugin had %d MiB in memory", resident>>20)
	if resident == 0 || resident > maxResident {
		t.Errorf("the plugin had %d bytes in memory, want at most %d", resident, maxResident)
	}
}

// Peak returns the peak of a process's memory in bytes, or 0 after its end.
func Peak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, ok := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(after), &kib); !ok || err != nil {
		return 0
	}
	return kib << 10
}
