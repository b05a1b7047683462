package main

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
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/transport/unix"
)

// maxResident is what the plugin may have in memory, whatever requests are made
// of: twice what one of them takes, for the collector, and some.
const maxResident = 300 << 20

// TestMemory sends requests of which each byte takes as much memory as it can.
func TestMemory(t *testing.T) {
	for name, part := range map[string]func(i int) []byte{
		"tags":    func(int) []byte { return []byte{0x1a, 0} },
		"options": func(i int) []byte { return fmt.Appendf(nil, "\x12\x07\x0a\x05%05x", i%0x100000) },
	} {
		t.Run(name, func(t *testing.T) {
			p, err := host.Launch(t.Context(), exec.Command(clitest.Path("dataprocessor-plugin")),
				host.WithProtocols(example.DataProcessorProtocol),
				host.WithTransports(unix.New()),
				host.WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			var largest []byte
			for i := 0; len(largest) < maxMessage-16; i++ {
				largest = append(largest, part(i)...)
			}
			for times, want := range map[int]codes.Code{1: codes.InvalidArgument, 16: codes.ResourceExhausted} {
				request := new(emptypb.Empty)
				request.ProtoReflect().SetUnknown(bytes.Repeat(largest, times))
				for range 3 { // the collector has no time between them
					if err := p.Invoke(t.Context(), example.DataProcessor_ProcessData_FullMethodName, request, new(emptypb.Empty)); status.Code(err) != want {
						t.Errorf("%d times the largest request: error %v, want %v", times, err, want)
					}
				}
			}
			resident := peak(t, p.Info().PID)
			t.Logf("the plugin had %d MiB in memory", resident>>20)
			if resident > maxResident {
				t.Errorf("the plugin had %d bytes in memory, want at most %d", resident, maxResident)
			}
		})
	}
}

// peak returns the most that a process ever had in memory, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(after), &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
