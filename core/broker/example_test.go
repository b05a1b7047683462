package broker_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostGreeting is what the host serves.
type hostGreeting struct{}

func (hostGreeting) Greet(_ context.Context, request *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	return &greeter.GreetResponse{Greeting: "Hello, " + request.GetName() + ", says the host"}, nil
}

// caller is the plugin's handler. The request tells it the number of what the host
// serves.
type caller struct{}

func (caller) Greet(ctx context.Context, request *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	id, err := strconv.ParseUint(request.GetName(), 10, 32)
	if err != nil {
		return nil, err
	}
	conn, err := plugin.Broker(ctx).Dial(ctx, uint32(id))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return greeter.NewGreeterClient(conn).Greet(ctx, &greeter.GreetRequest{Name: "Ada"})
}

// The host serves something under a number, which the plugin dials.
func Example() {
	t := exampletest.NewT()
	defer t.End()
	p := plugintest.Start(t, greeter.ServeGreeter(caller{}), exampletest.Loopback{})

	id := p.Broker().NextID()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- p.Broker().Serve(ctx, id, greeter.ServeGreeter(hostGreeting{})) }()

	response, err := greeter.NewGreeterClient(p).Greet(t.Context(), &greeter.GreetRequest{Name: strconv.FormatUint(uint64(id), 10)})
	fmt.Println(response.GetGreeting(), err)
	stop()
	fmt.Println(<-served)
	// Output:
	// Hello, Ada, says the host <nil>
	// <nil>
}
