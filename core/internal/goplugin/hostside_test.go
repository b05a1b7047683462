package goplugin

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// recordingConn records a unary call, and fails it.
type recordingConn struct {
	grpc.ClientConnInterface
	method  string
	request any
	err     error
}

// Invoke implements [grpc.ClientConnInterface].
func (c *recordingConn) Invoke(_ context.Context, method string, args, _ any, _ ...grpc.CallOption) error {
	c.method, c.request = method, args
	return c.err
}

// TestShutdown asks a plugin on go-plugin to stop.
func TestShutdown(t *testing.T) {
	t.Parallel()
	conn := &recordingConn{err: errors.New("gone")}
	if err := NewHostSide(conn, nil).Shutdown(t.Context()); !errors.Is(err, conn.err) {
		t.Errorf("got %v, want %v", err, conn.err)
	}
	if _, ok := conn.request.(*emptypb.Empty); conn.method != "/plugin.GRPCController/Shutdown" || !ok {
		t.Errorf("%s %v", conn.method, conn.request)
	}
}
