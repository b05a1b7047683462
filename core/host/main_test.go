package host_test

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/plugin"
)

// greeterVariable makes the test binary the plugin of the Examples.
const greeterVariable = "GREETER_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(greeterVariable) != "" {
		plugin.Main(greeter.ServeGreeter(greeting{}), plugin.WithTransports(exampletest.Loopback{}))
	}
	goleak.VerifyTestMain(m)
}

// greeting is the handler of the Examples' plugin.
type greeting struct{}

func (greeting) Greet(ctx context.Context, request *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	switch request.GetName() {
	case "":
		os.Exit(3)
	case "host": // has the host greet
		return greeter.NewGreeterClient(plugin.Host(ctx)).Greet(ctx, request)
	}
	return &greeter.GreetResponse{Greeting: "Hello, " + request.GetName() + "!"}, nil
}
