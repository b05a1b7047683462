package plugintest_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
)

// hostService serves the plugin, and notes which calls have come.
type hostService struct {
	testpb.UnimplementedTestServiceServer
	calls chan string
}

func (h *hostService) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	h.calls <- string(req.GetPayload().GetBody())
	return &testpb.SimpleResponse{}, nil
}

// A function of OnReady calls the host before Launch returns, and what it has begun
// goes on after that.
func TestOnReady(t *testing.T) {
	t.Parallel()
	const functions = 3
	service := &hostService{calls: make(chan string, functions)}
	say := func(ctx context.Context, text string) error {
		_, err := testpb.NewTestServiceClient(plugin.Host(ctx)).UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte(text)}})
		return err
	}
	streamed := make(chan error, 1)
	p := plugintest.StartWith(t, protocol.Bind(testProtocol, handler{}), loop{},
		[]plugin.Option{
			plugin.OnReady(func(ctx context.Context) error { return say(ctx, "first") }),
			plugin.OnReady(func(ctx context.Context) error {
				if plugin.Logger(ctx) == slog.Default() {
					t.Error("the logger is not the plugin's")
				}
				plugin.SetHealth(ctx, false)
				later := context.WithoutCancel(ctx)
				go func() {
					conn, err := plugin.OpenStream(later, "events")
					if err == nil {
						_, err = conn.Write([]byte("event"))
					}
					if err == nil {
						err = conn.Close()
					}
					streamed <- err
				}()
				return say(ctx, "second")
			}),
			plugin.OnReady(func(ctx context.Context) error { return say(ctx, "third") }),
		},
		host.WithServices(protocol.Bind(testProtocol, service)))
	// Launch has returned, so all of them have.
	close(service.calls)
	var said []string
	for text := range service.calls {
		said = append(said, text)
	}
	if !slices.Equal(said, []string{"first", "second", "third"}) {
		t.Errorf("the host was called with %v", said)
	}
	if err := p.Ping(t.Context()); err == nil {
		t.Error("the plugin is healthy, and OnReady has said otherwise")
	}
	conn, err := p.AcceptStream(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); string(text) != "event" || err != nil {
		t.Errorf("the stream has %q, %v", text, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := <-streamed; err != nil {
		t.Error(err)
	}
}
