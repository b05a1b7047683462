package main

import (
	"testing"

	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

func TestGreet(t *testing.T) {
	p := plugintest.Start(t, hello.ServeGreeter(greeter{}), unix.New())
	response, err := hello.NewGreeterClient(p).Greet(t.Context(), &hello.GreetRequest{Name: "world"})
	if err != nil || response.GetGreeting() != "Hello, world!" {
		t.Errorf("%v, %v", response, err)
	}
}
