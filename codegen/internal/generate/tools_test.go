package generate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnnounce checks that announce writes its line for a long step only.
func TestAnnounce(t *testing.T) {
	for took, want := range map[time.Duration]string{0: "", patience - 1: "", patience + 1: "compiling\n", time.Hour: "compiling\n"} {
		synctest.Test(t, func(t *testing.T) {
			var shown strings.Builder
			stop := announce(&shown, "compiling")
			time.Sleep(took)
			stop()
			time.Sleep(time.Hour) // a later write would be a mistake
			if got := shown.String(); got != want {
				t.Errorf("a step of %v writes %q, want %q", took, got, want)
			}
		})
	}
	announce(nil, "compiling")() // without a terminal
}
