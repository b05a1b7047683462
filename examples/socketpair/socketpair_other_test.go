//go:build !unix

package socketpair_test

import (
	"errors"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/examples/socketpair"
)

func TestNotOnThisSystem(t *testing.T) {
	_, err := socketpair.New().Prepare(t.Context(), transport.PrepareConfig{Version: 1})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Prepare: %v, want errors.ErrUnsupported", err)
	}
	_, err = socketpair.New().Listen(t.Context(), transport.ListenConfig{Version: 1})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Listen: %v, want errors.ErrUnsupported", err)
	}
}
