//go:build !linux && !darwin

package secure

import (
	"errors"
	"testing"
)

func runChild() bool { return false }

func TestPeerCredUnsupported(t *testing.T) {
	if PeerCredSupported {
		t.Error("PeerCredSupported is set")
	}
	if _, err := socketUID(0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}
