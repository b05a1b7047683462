package hostcli

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
)

func TestStartTwice(t *testing.T) {
	s := &Session{plugin: new(host.Plugin)}
	if p, err := s.Start(t.Context()); p != nil || err == nil {
		t.Errorf("%v, %v, want an error", p, err)
	}
}

// brokenPipe is a stdout that was closed early.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("write: %w", syscall.EPIPE) }

// A closed stdout is reported without a message, but a plugin that closed its
// connection is a failure like any other.
func TestExitAfterABrokenPipe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stdout io.Writer
		err    func(s *Session) error
		want   string
	}{
		{"of stdout", brokenPipe{}, func(s *Session) error { return s.text("x") }, ""},
		{"of stdout, in another error", brokenPipe{}, func(s *Session) error { return fmt.Errorf("print: %w", s.text("x")) }, ""},
		{"of the plugin", io.Discard, func(*Session) error { return fmt.Errorf("dial: %w", syscall.EPIPE) }, "a-host: dial: broken pipe\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stderr strings.Builder
			s := &Session{program: &Program{Name: "a-host"}, stdout: tt.stdout, stderr: &stderr}
			if code := s.exit(tt.err(s)); code != exitFailure {
				t.Errorf("exit code %d, want %d", code, exitFailure)
			}
			if stderr.String() != tt.want {
				t.Errorf("stderr %q, want %q", stderr.String(), tt.want)
			}
		})
	}
}
