//go:build !unix

// Package socketpair is an example of your own transport. This system does not
// have what it needs.
package socketpair

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"

	"github.com/plugwire/plugwire/core/transport"
)

// Name is the transport's name on the wire.
const Name = "socketpair"

// Transport is socketpair/1, which this system does not have: Prepare and
// Listen fail. It compiles, so that a program can name it everywhere.
type Transport struct{}

var _ transport.Preparer = (*Transport)(nil)

// errSystem satisfies errors.Is(err, errors.ErrUnsupported).
var errSystem = fmt.Errorf("socketpair: a process inherits no sockets on %s: use another transport: %w", runtime.GOOS, errors.ErrUnsupported)

// New returns the transport.
func New() *Transport { return &Transport{} }

// Name implements [transport.Transport].
func (*Transport) Name() string { return Name }

// Versions implements [transport.Transport].
func (*Transport) Versions() []int { return []int{1} }

// Prepare implements [transport.Preparer]. It fails.
func (*Transport) Prepare(context.Context, transport.PrepareConfig) (*transport.PreparedStart, error) {
	return nil, errSystem
}

// Listen implements [transport.Transport]. It fails.
func (*Transport) Listen(_ context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	err := errSystem
	for _, file := range cfg.Files {
		err = errors.Join(err, file.Close())
	}
	return nil, err
}

// Dial implements [transport.Transport]. It fails.
func (*Transport) Dial(context.Context, transport.DialConfig) (net.Conn, error) {
	return nil, errSystem
}
