//go:build unix

package e2e_test

import (
	"testing"

	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// TestGRPCInterop runs gRPC's own interoperability cases on each wire over each transport. A
// case that fails ends its process, so a separate host runs them.
func TestGRPCInterop(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := command("interop-host", name, command("interop-plugin").Path).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
