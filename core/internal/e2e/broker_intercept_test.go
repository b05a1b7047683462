//go:build unix

package e2e_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/transport/unix"
)

// interceptions records where calls were intercepted.
type interceptions struct {
	mu    sync.Mutex // guards sides
	sides []string
}

func (i *interceptions) add(side string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sides = append(i.sides, side)
}

// take returns what was recorded since the last take.
func (i *interceptions) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	sides := i.sides
	i.sides = nil
	return sides
}

func (i *interceptions) client(side string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		i.add(side)
		return next(ctx, method, req, reply, cc, opts...)
	}
}

func (i *interceptions) server(side string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		i.add(side)
		return next(ctx, req)
	}
}

const (
	servedByHost   = 1
	servedByPlugin = 2
)

// viaBroker is a handler of the plugin that passes calls on to what the host serves by the
// broker.
type viaBroker struct{ echo.Handler }

func (viaBroker) Unary(ctx context.Context, req *echopb.Payload) (*echopb.Payload, error) {
	conn, err := plugin.Broker(ctx).Dial(ctx, servedByHost)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return echopb.NewEchoClient(conn).Unary(ctx, req)
}

// Interceptors apply to brokered calls, on the side that makes them and on the side that
// serves them.
func TestBrokeredInterceptors(t *testing.T) {
	t.Parallel()
	var seen interceptions
	served := make(chan error, 2)
	p := plugintest.StartWith(t, echopb.ServeEcho(viaBroker{}), unix.New(),
		[]plugin.Option{
			plugin.WithInterceptors(seen.server("plugin serves"), nil),
			plugin.WithHostInterceptors(seen.client("plugin calls"), nil),
			plugin.OnReady(func(ctx context.Context) error {
				serving := context.WithoutCancel(ctx)
				go func() { served <- plugin.Broker(ctx).Serve(serving, servedByPlugin, echopb.ServeEcho(echo.Handler{})) }()
				return nil
			}),
		},
		host.WithInterceptors(seen.client("host calls"), nil),
		host.WithServiceInterceptors(seen.server("host serves"), nil))
	go func() {
		served <- p.Broker().Serve(context.Background(), servedByHost, echopb.ServeEcho(echo.Handler{}))
	}()
	ctx := testContext(t)

	conn, err := p.Broker().Dial(ctx, servedByPlugin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := echopb.NewEchoClient(conn).Unary(ctx, payload("x")); err != nil {
		t.Error(err)
	}
	if got, want := seen.take(), []string{"host calls", "plugin serves"}; !slices.Equal(got, want) {
		t.Errorf("a call of the host: %q, want %q", got, want)
	}
	if _, err := echopb.NewEchoClient(p).Unary(ctx, payload("x")); err != nil {
		t.Error(err)
	}
	if got, want := seen.take(), []string{"host calls", "plugin serves", "plugin calls", "host serves"}; !slices.Equal(got, want) {
		t.Errorf("a call of the host and one of the plugin: %q, want %q", got, want)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		<-served // they end with the plugin
	}
}
