//go:build unix

package host

import (
	"os"
	"strings"
	"testing"
)

// TestStdinIsNoTerminal checks the kinds of files that a plugin can and cannot read
// from.
func TestStdinIsNoTerminal(t *testing.T) {
	t.Parallel()
	t.Run("terminal", func(t *testing.T) {
		t.Parallel()
		terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
		if err != nil {
			t.Skipf("no terminal to try it with: %v", err)
		}
		defer terminal.Close()
		err = WithStdin(terminal).apply(&config{})
		if err == nil || !strings.Contains(err.Error(), "host.WithStdin: the file is a terminal") {
			t.Errorf("error %v, want one that names the option", err)
		}
	})
	t.Run("null device", func(t *testing.T) {
		t.Parallel()
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		cfg := &config{}
		if err := WithStdin(null).apply(cfg); err != nil || cfg.stdin != null {
			t.Errorf("%v, and the standard input is %v", err, cfg.stdin)
		}
	})
}
