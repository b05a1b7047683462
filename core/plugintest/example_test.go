package plugintest_test

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
)

// greeting is the handler to test.
type greeting struct{}

func (greeting) Greet(_ context.Context, request *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	if request.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name is empty")
	}
	return &greeter.GreetResponse{Greeting: "Hello, " + request.GetName() + "!"}, nil
}

// A test calls a handler as a host does.
func Example() {
	t := exampletest.NewT() // the argument of a test
	defer t.End()           // package testing does that for a test

	client := greeter.NewGreeterClient(plugintest.Start(t, greeter.ServeGreeter(greeting{}),
		exampletest.Loopback{})) // unix.New(), for example

	response, err := client.Greet(t.Context(), &greeter.GreetRequest{Name: "Ada"})
	fmt.Println(response.GetGreeting(), err)
	_, err = client.Greet(t.Context(), &greeter.GreetRequest{})
	fmt.Println(err)
	// Output:
	// Hello, Ada! <nil>
	// rpc error: code = InvalidArgument desc = name is empty
}

// A test can give options to each side, and test what the plugin does when it stops.
func ExampleStartWith() {
	t := exampletest.NewT()
	defer t.End()

	save := func(context.Context) error {
		fmt.Println("saved")
		return nil
	}
	p := plugintest.StartWith(t, greeter.ServeGreeter(greeting{}), exampletest.Loopback{},
		[]plugin.Option{plugin.OnShutdown(save)},
		host.WithMaxMessageSize(1000))

	_, err := greeter.NewGreeterClient(p).Greet(t.Context(), &greeter.GreetRequest{Name: strings.Repeat("a", 2000)})
	fmt.Println(status.Code(err))
	fmt.Println(p.Close())
	// Output:
	// ResourceExhausted
	// saved
	// <nil>
}
