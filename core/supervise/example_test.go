package supervise_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/supervise"
)

// greeting answers with the version of its plugin.
type greeting struct{ version int }

func (g greeting) Greet(_ context.Context, r *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	return &greeter.GreetResponse{Greeting: fmt.Sprintf("Hello, %s, from version %d!", r.GetName(), g.version)}, nil
}

// launch returns a launch function. In a program it calls host.Launch.
func launch(t *exampletest.T, version int) supervise.LaunchFunc {
	return func(context.Context) (*host.Plugin, error) {
		return plugintest.Start(t, greeter.ServeGreeter(greeting{version}), exampletest.Loopback{}), nil
	}
}

// A client outlives the plugins behind it.
func Example() {
	t := exampletest.NewT() // stands for the test in which plugintest runs a plugin
	defer t.End()
	ctx := t.Context()

	h, err := supervise.Start(ctx, launch(t, 1),
		supervise.WithInit(func(ctx context.Context, p *host.Plugin) error {
			_, err := greeter.NewGreeterClient(p).Greet(ctx, &greeter.GreetRequest{Name: "host"})
			return err
		}),
		supervise.WithHold(5*time.Second),
		supervise.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	client := greeter.NewGreeterClient(h)
	greet := func() {
		response, err := client.Greet(ctx, &greeter.GreetRequest{Name: "Ada"})
		fmt.Println(response.GetGreeting(), err)
	}
	greet()
	fmt.Println(h.Swap(ctx, launch(t, 2), supervise.WithRollback(time.Minute)))
	greet()
	fmt.Println(h.State().Phase, h.Close())
	// Output:
	// Hello, Ada, from version 1! <nil>
	// <nil>
	// Hello, Ada, from version 2! <nil>
	// ready <nil>
}

// A listener gets what happens to a plugin, in its order.
func ExampleWithListener() {
	t := exampletest.NewT()
	defer t.End()

	kinds := make(chan supervise.Kind)
	h, err := supervise.Start(t.Context(), launch(t, 1),
		supervise.WithListener(func(e supervise.Event) { kinds <- e.Kind }),
		supervise.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-kinds)
	fmt.Println(h.Close(), <-kinds)
	// Output:
	// ready
	// <nil> closed
}

// A policy changes what differs from the defaults, and keeps the rest.
func ExampleWithPolicy() {
	opts := []supervise.Option{
		supervise.WithPolicy(supervise.Policy{MaxDelay: 5 * time.Second, Pause: -1}),
		supervise.WithHealth(supervise.Health{Interval: time.Second}),
	}
	fmt.Println(len(opts))
	// Output: 2
}
