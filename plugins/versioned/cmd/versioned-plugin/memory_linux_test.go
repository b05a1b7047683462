package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/unix"
)

// maxResident is how much memory the plugin may use, whatever the requests contain: twice what the largest request
// takes, for the garbage collector, and some more. A request of 64 MiB would take ten times as much.
const maxResident = 512 << 20

// TestMemory sends requests in which each byte takes as much memory as it can: requests of the largest size that the
// plugin accepts, and requests that are 16 times larger. The plugin refuses them, and its memory is bounded.
func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		name     string
		protocol *protocol.Protocol
		method   string
		part     func(i int) []byte
	}{
		{"items", example.DataProcessorV2Protocol, example.DataProcessorV2_BatchProcess_FullMethodName, func(int) []byte { return []byte{0x0a, 0} }},
		{"operations", example.DataProcessorV2Protocol, example.DataProcessorV2_Process_FullMethodName, func(int) []byte { return []byte{0x12, 0} }},
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
			p, err := launch(t, pluginCommand(t, "1,2"), unix.New(), tt.protocol)
			if err != nil {
				t.Fatal(err)
			}
			var largest []byte
			for i := 0; len(largest) < processor.MaxMessageSize-16; i++ {
				largest = append(largest, tt.part(i)...)
			}
			for times, want := range map[int]codes.Code{1: codes.InvalidArgument, 16: codes.ResourceExhausted} {
				request := new(emptypb.Empty)
				request.ProtoReflect().SetUnknown(bytes.Repeat(largest, times))
				for range 3 { // the garbage collector has no time between the requests
					if err := p.Invoke(t.Context(), tt.method, request, new(emptypb.Empty)); status.Code(err) != want {
						t.Errorf("%d times the largest request: error %v, want %v", times, err, want)
					}
				}
			}
			if resident := peak(t, p.Info().PID); resident > maxResident {
				t.Errorf("the plugin had %d bytes in memory, want at most %d", resident, maxResident)
			}
		})
	}
}

// peak returns the peak of a running process's memory, in bytes.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(content, []byte("VmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(after), &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
