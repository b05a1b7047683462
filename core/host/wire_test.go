package host

import (
	"strings"
	"testing"
)

func TestUnknownWire(t *testing.T) {
	_, err := newConfig("", []Option{WithWire("h2", "pigeon")})
	if err == nil || !strings.Contains(err.Error(), `host.WithWire: wire "pigeon" is not available: this side has pw/1, h2`) {
		t.Errorf("%v", err)
	}
}
