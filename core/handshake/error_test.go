package handshake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
)

func TestErrorText(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  handshake.Error
		want string
	}{
		{"reason", handshake.Error{Reason: "r"}, "r"},
		{"host", handshake.Error{Reason: "r", Host: "h"}, "r (host: h)"},
		{"plugin", handshake.Error{Reason: "r", Plugin: "p"}, "r (plugin: p)"},
		{"everything", handshake.Error{Reason: "r", Host: "h", Plugin: "p", Hint: "do this"}, "r (host: h; plugin: p): do this"},
		{"one line", handshake.Error{Reason: "a\nb\tc"}, "a b c"},
		{"no control characters", handshake.Error{Reason: "\x1b[2J", Plugin: "\x07", Hint: "\u202e"}, "\ufffd[2J (plugin: \ufffd): \ufffd"},
		{"bounded", handshake.Error{Reason: strings.Repeat("x", 5000)}, strings.Repeat("x", 4096) + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("start: %w", &handshake.Error{Code: handshake.CodeVersion, Reason: "r", Plugin: "version 1"})
	if !errors.Is(err, &handshake.Error{Code: handshake.CodeVersion}) {
		t.Error("it does not match its own code")
	}
	for _, other := range []error{&handshake.Error{Code: handshake.CodeWire}, &handshake.Error{Code: handshake.CodeVersion, Reason: "other"}, &handshake.Error{}} {
		if errors.Is(err, other) {
			t.Errorf("it matches %#v", other)
		}
	}
}
