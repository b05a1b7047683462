package main

import (
	"fmt"
	"testing"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// maxResident is how much memory the plugin may use, whatever the requests
// contain: twice the size of the largest one, for the garbage collector, and
// some more.
const maxResident = 300 << 20

// TestMemory sends requests in which each byte takes as much memory as it can.
func TestMemory(t *testing.T) {
	for name, part := range map[string]func(i int) []byte{
		"tags":    func(int) []byte { return []byte{0x1a, 0} },
		"options": func(i int) []byte { return fmt.Appendf(nil, "\x12\x07\x0a\x05%05x", i%0x100000) },
	} {
		t.Run(name, func(t *testing.T) {
			bloat := clitest.Bloat{Protocol: example.DataProcessorProtocol, Method: example.DataProcessor_ProcessData_FullMethodName, Part: part}
			bloat.WantBounded(t, "dataprocessor-plugin", maxMessage, maxResident)
		})
	}
}
