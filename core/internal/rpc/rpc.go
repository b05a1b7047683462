// Package rpc decides how calls travel: which wire carries them, and on which streams of a
// session. A host begins with [Connect], a plugin with [Serve]. The types of both ends are
// in package calls. Each wire has a package of its own beside it.
package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
	"github.com/plugwire/plugwire/core/internal/rpc/pw"
)

// wires are the wires that this process has, the best first.
var wires = []calls.Wire{pw.Wire{}, h2.Wire{}}

// Names returns the names of the wires that this process has, the best first.
func Names() []string {
	names := make([]string, len(wires))
	for i, w := range wires {
		names[i] = w.Name()
	}
	return names
}

// Check returns an error if names are not a list of wires of this process: at least one, each
// listed once.
func Check(names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("want at least one of %s", strings.Join(Names(), ", "))
	}
	for i, name := range names {
		if _, err := find(name); err != nil {
			return err
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("wire %q is listed twice", name)
		}
	}
	return nil
}

// ServerNames returns those of names that serve with a *grpc.Server, as protocol.FromServer
// needs.
func ServerNames(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		w, err := find(name)
		if err != nil {
			return true
		}
		_, ok := w.(interface{ HasServer() })
		return !ok
	})
}

// ALPN returns the wire's name in TLS handshakes.
func ALPN(wire string) string {
	w, err := find(wire)
	if err != nil {
		return wire // the start fails later, with that error
	}
	return w.ALPN()
}

func find(name string) (calls.Wire, error) {
	i := slices.IndexFunc(wires, func(w calls.Wire) bool { return w.Name() == name })
	if i < 0 {
		return nil, fmt.Errorf("wire %q is not available: this side has %s", name, strings.Join(Names(), ", "))
	}
	return wires[i], nil
}

// Connect opens the streams that the wire wants of one session, and returns the host's
// ends of it. server is what the host serves; nil if it serves nothing, and then so is
// the returned Server. The context bounds only Connect.
func Connect(ctx context.Context, wire string, open calls.Opener, client calls.ClientConfig, server *calls.ServerConfig) (calls.Client, calls.Server, error) {
	w, err := find(wire)
	if err != nil {
		return nil, nil, err
	}
	return w.Connect(ctx, open, client, server)
}
