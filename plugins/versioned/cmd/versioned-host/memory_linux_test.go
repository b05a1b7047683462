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
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/transport/unix"
)

// maxResident is what the plugin may have in memory, whatever requests are made
// of: twice what one of them takes, for the collector, and some. It is a tenth of
// what one of 64 MiB would take.
const maxResident = 512 << 20

// TestMemory sends requests of which each byte takes as much memory as it can.
func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		name     string
		protocol *protocol.Protocol
		method   string
		part     func(i int) []byte // of which the request is made
	}{
		{
			"items", example.DataProcessorV2Protocol, example.DataProcessorV2_BatchProcess_FullMethodName,
			func(int) []byte { return []byte{0x0a, 0} },
		},
		{
			"operations", example.DataProcessorV2Protocol, example.DataProcessorV2_Process_FullMethodName,
			func(int) []byte { return []byte{0x12, 0} },
		},
		{
			"metadata", example.DataProcessorV2Protocol, example.DataProcessorV2_Process_FullMethodName,
			func(i int) []byte { return fmt.Appendf(nil, "\x1a\x06\x0a\x04%04x", i%0x10000) },
		},
		{
			"options", example.DataProcessorV1Protocol, example.DataProcessorV1_Process_FullMethodName,
			func(i int) []byte { return fmt.Appendf(nil, "\x12\x07\x0a\x05%05x", i%0x100000) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := host.Launch(t.Context(), exec.Command(clitest.Path("versioned-plugin")),
				host.WithProtocols(tt.protocol),
				host.WithTransports(unix.New()),
				host.WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			var largest []byte
			for i := 0; len(largest) < maxMessage-16; i++ {
				largest = append(largest, tt.part(i)...)
			}
			for times, want := range map[int]codes.Code{1: codes.InvalidArgument, 16: codes.ResourceExhausted} {
				request := new(emptypb.Empty)
				request.ProtoReflect().SetUnknown(bytes.Repeat(largest, times))
				for range 3 { // the collector has no time between them
					if err := p.Invoke(t.Context(), tt.method, request, new(emptypb.Empty)); status.Code(err) != want {
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
