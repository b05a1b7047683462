package broker

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/transport"
)

// dialedTransport is a transport unix whose Dial fails with its address.
type dialedTransport struct{ transport.Transport }

func (dialedTransport) Name() string { return "unix" }

func (dialedTransport) Versions() []int { return []int{1} }

func (dialedTransport) Dial(_ context.Context, cfg transport.DialConfig) (net.Conn, error) {
	return nil, dialedError(cfg.Address)
}

type dialedError string

func (e dialedError) Error() string { return string(e) }

// TestRelativeAddress dials an address of a peer with a relative TMPDIR.
func TestRelativeAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &Addresses{Transports: transport.Set{dialedTransport{}}, Credentials: secure.Plaintext(), Dir: dir}
	for address, want := range map[string]string{
		"tmp/plugin1": filepath.Join(dir, "tmp", "plugin1"), "/tmp/my plugin": "/tmp/my plugin", "@abstract": "@abstract",
	} {
		_, _, err := a.Dial(t.Context(), "unix", address)
		if dialed, ok := errors.AsType[dialedError](err); !ok || string(dialed) != want {
			t.Errorf("%s: %v, want %s dialed", address, err, want)
		}
	}
	for _, address := range []string{"", "a|b", "a\x00"} {
		if _, _, err := a.Dial(t.Context(), "unix", address); err == nil || errors.As(err, new(dialedError)) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
