//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// exchange sends a message on a chat and receives its echo.
func exchange(tb testing.TB, chat echopb.Echo_ChatClient) {
	tb.Helper()
	err := chat.Send(payload("x"))
	if err == nil {
		_, err = chat.Recv()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// TestShutdownDrainsGoPlugin stops a plugin on go-plugin during a call. The host takes no new
// calls, and asks the plugin to stop when the call has ended.
func TestShutdownDrainsGoPlugin(t *testing.T) {
	t.Parallel()
	var taken steps
	p := launch(t, onGoPlugin(), taken.trace())
	client := echopb.NewEchoClient(p)
	chat, err := client.Chat(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, chat)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Shutdown(testContext(t)) }()
	for err == nil { // until the stop has begun
		_, err = client.Unary(testContext(t), payload("new"))
	}
	if status.Code(err) != codes.Unavailable || !host.NotBegun(err) {
		t.Errorf("a new call: %v, not begun %t", err, host.NotBegun(err))
	}
	if _, err := client.Chat(testContext(t)); status.Code(err) != codes.Unavailable || !host.NotBegun(err) {
		t.Errorf("a new stream: %v, not begun %t", err, host.NotBegun(err))
	}
	exchange(t, chat)
	if err := chat.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the call in flight ended with %v", err)
	}
	if err := waitFor(t, "the end of the plugin", stopped); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	taken.assert(t, host.StepAsk)
	if _, err = client.Unary(testContext(t), payload("late")); !errors.Is(err, net.ErrClosed) || !host.NotBegun(err) {
		t.Errorf("a call after the end: %v, not begun %t", err, host.NotBegun(err))
	}
}

// TestShutdownCutsOffGoPlugin stops a plugin on go-plugin during a call that does not end.
// The plugin is asked to stop all the same, within the grace.
func TestShutdownCutsOffGoPlugin(t *testing.T) {
	t.Parallel()
	var taken steps
	p := launch(t, onGoPlugin(), taken.trace())
	chat, err := echopb.NewEchoClient(p).Chat(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, chat)
	// A call that its caller has given up counts no more.
	abandoned, cancel := context.WithCancel(testContext(t))
	if _, err := echopb.NewEchoClient(p).Chat(abandoned); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := shutdown(p, 3*time.Second); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	taken.assert(t, host.StepAsk)
	if _, err := chat.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the call in flight ended with %v", err)
	}
}

// TestShutdownDrainsBrokeredCalls stops a plugin on go-plugin during a call on a brokered
// connection. That call counts, and the host takes more calls there: the one in flight may
// need them.
func TestShutdownDrainsBrokeredCalls(t *testing.T) {
	t.Parallel()
	p := launch(t, onGoPlugin())
	client := echopb.NewEchoClient(p)
	id, err := client.Fail(testContext(t), fail("serve"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := p.Broker().Dial(testContext(t), uint32(atoi(t, string(id.GetData()))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	brokered := echopb.NewEchoClient(conn)
	chat, err := brokered.Chat(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, chat)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Shutdown(testContext(t)) }()
	for err == nil { // until the stop has begun
		_, err = client.Unary(testContext(t), payload("new"))
	}
	if _, err := brokered.Unary(testContext(t), payload("nested")); err != nil {
		t.Errorf("a new call on the brokered connection: %v", err)
	}
	nested, err := brokered.Chat(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, nested)
	exchange(t, chat)
	if err := chat.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the call in flight ended with %v", err)
	}
	if err := waitFor(t, "the end of the plugin", stopped); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
