package main

import (
	"fmt"
	"testing"

	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// maxResident is how much memory the plugin may use, whatever the requests
// contain: twice the size of the largest one, for the garbage collector, and some
// more. A request of 64 MiB would take ten times as much.
const maxResident = 512 << 20

// TestMemory sends requests in which each byte takes as much memory as it can.
func TestMemory(t *testing.T) {
	for name, bloat := range map[string]clitest.Bloat{
		"items": {
			Protocol: example.DataProcessorV2Protocol, Method: example.DataProcessorV2_BatchProcess_FullMethodName,
			Part: func(int) []byte { return []byte{0x0a, 0} },
		},
		"operations": {
			Protocol: example.DataProcessorV2Protocol, Method: example.DataProcessorV2_Process_FullMethodName,
			Part: func(int) []byte { return []byte{0x12, 0} },
		},
		"metadata": {
			Protocol: example.DataProcessorV2Protocol, Method: example.DataProcessorV2_Process_FullMethodName,
			Part: func(i int) []byte { return fmt.Appendf(nil, "\x1a\x06\x0a\x04%04x", i%0x10000) },
		},
		"options": {
			Protocol: example.DataProcessorV1Protocol, Method: example.DataProcessorV1_Process_FullMethodName,
			Part: func(i int) []byte { return fmt.Appendf(nil, "\x12\x07\x0a\x05%05x", i%0x100000) },
		},
	} {
		t.Run(name, func(t *testing.T) { bloat.WantBounded(t, "versioned-plugin", maxMessage, maxResident) })
	}
}
