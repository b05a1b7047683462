// Package exampletest has what the Examples of core's packages need: a transport,
// because core has none, and a test that an Example can pass to plugintest.
package exampletest

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
)

// Loopback is a short implementation of tcp/1, over the loopback interface.
// Programs use the transports of other modules, such as transport/unix.
type Loopback struct{}

var _ transport.Transport = Loopback{}

// Name implements [transport.Transport].
func (Loopback) Name() string { return "tcp" }

// Versions implements [transport.Transport].
func (Loopback) Versions() []int { return []int{1} }

// Listen implements [transport.Transport].
func (Loopback) Listen(ctx context.Context, _ transport.ListenConfig) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", "127.0.0.1:0")
}

// Dial implements [transport.Transport].
func (Loopback) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", cfg.Address)
}

// T stands for the *testing.T of a test, and has the methods that plugintest
// needs. It prints failures. Call End when the test is over.
type T struct {
	testing.TB

	ctx      context.Context //nolint:containedctx // what Context returns
	cancel   context.CancelFunc
	cleanups []func()
}

// NewT returns the T of a test.
func NewT() *T {
	ctx, cancel := context.WithCancel(context.Background())
	return &T{ctx: ctx, cancel: cancel}
}

// End runs the cleanups, as the end of a test does.
func (t *T) End() {
	t.cancel()
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// Helper implements [testing.TB].
func (*T) Helper() {}

// Name implements [testing.TB].
func (*T) Name() string { return "TestExample" }

// Context implements [testing.TB].
func (t *T) Context() context.Context { return t.ctx }

// Output implements [testing.TB].
func (*T) Output() io.Writer { return io.Discard }

// Cleanup implements [testing.TB].
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Errorf implements [testing.TB].
func (*T) Errorf(format string, args ...any) {
	fmt.Printf("FAIL: "+format+"\n", args...) //nolint:forbidigo // the output of an Example
}

// Fatalf implements [testing.TB].
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic("the Example cannot continue") //nolint:forbidigo // as a test would end here
}
