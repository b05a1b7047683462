package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/supervise"
)

var discard = slog.New(slog.DiscardHandler)

// broken is a launch function of a plugin that cannot be started. It marks its error as
// one that another start would meet again.
func broken(context.Context) (*host.Plugin, error) {
	return nil, supervise.Permanent(errors.New("there is no such program"))
}

// group runs a group of three plugins. The extras are broken.
func group(ctx context.Context, t *exampletest.T) error {
	plugins, err := supervise.NewGroup(supervise.WithHold(5*time.Second), supervise.WithLogger(discard))
	if err != nil {
		return err
	}
	defer plugins.Close()
	err = plugins.Apply(ctx,
		supervise.Spec{Name: "store", Launch: launch(t, 1), Revision: "1"},
		supervise.Spec{Name: "words", Launch: launch(t, 1), Revision: "1", Needs: []string{"store"}},
		supervise.Spec{Name: "extras", Launch: broken, Optional: true},
	)
	if err != nil {
		return err // it names each required plugin that cannot be started
	}
	words, err := plugins.Member("words")
	if err != nil {
		return err
	}
	client := greeter.NewGreeterClient(words)
	greet := func() {
		response, err := client.Greet(ctx, &greeter.GreetRequest{Name: "Ada"})
		fmt.Println(response.GetGreeting(), err)
	}
	greet()
	// The second Apply is a reload: it swaps the words, and does not touch the store.
	err = plugins.Apply(ctx,
		supervise.Spec{Name: "store", Launch: launch(t, 1), Revision: "1"},
		supervise.Spec{Name: "words", Launch: launch(t, 2), Revision: "2", Needs: []string{"store"}},
		supervise.Spec{Name: "extras", Launch: broken, Optional: true, Lazy: true},
	)
	fmt.Println(err)
	greet()
	for _, s := range plugins.State() {
		fmt.Println(s.Name, s.Phase, s.Starts, s.Err)
	}
	return plugins.Close()
}

// A group starts, changes and stops many plugins together.
func ExampleGroup() {
	t := exampletest.NewT() // stands for the test in which plugintest runs a plugin
	defer t.End()
	if err := group(t.Context(), t); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Hello, Ada, from version 1! <nil>
	// <nil>
	// Hello, Ada, from version 2! <nil>
	// extras down 0 there is no such program
	// store ready 1 <nil>
	// words ready 2 <nil>
}
