package generate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnnounce has a person told of what takes long, and of nothing else.
func TestAnnounce(t *testing.T) {
	for took, want := range map[time.Duration]string{0: "", patience - 1: "", patience + 1: "compiling\n", time.Hour: "compiling\n"} {
		synctest.Test(t, func(t *testing.T) {
			var shown strings.Builder
			stop := announce(&shown, "compiling")
			time.Sleep(took)
			stop()
			time.Sleep(time.Hour) // nothing is written later
			if got := shown.String(); got != want {
				t.Errorf("of what took %v this is shown: %q, want %q", took, got, want)
			}
		})
	}
	announce(nil, "compiling")() // nobody watches
}
