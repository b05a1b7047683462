package doctor

import (
	"testing"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
	"github.com/plugwire/plugwire/core/host"
)

// TestLongest checks that the advice for a slow start is about its longest phase.
func TestLongest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		handshake, ready time.Duration
		want             host.Phase
	}{
		{handshake: 2, ready: 1, want: host.PhaseHandshake},
		{handshake: 1, ready: 2, want: host.PhaseReady},
		{want: host.PhaseStart, handshake: 1, ready: 1},
	} {
		phases := []target.Phase{{Name: host.PhaseStart, Duration: 1}, {Name: host.PhaseHandshake, Duration: tt.handshake}, {Name: host.PhaseReady, Duration: tt.ready}}
		if tt.want == host.PhaseStart {
			phases[0].Duration = 3
		}
		if got := longest(phases); got != tt.want || adviceSlow(got) == "" {
			t.Errorf("the longest of %v is %s, want %s", phases, got, tt.want)
		}
	}
}
