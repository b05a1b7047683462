// Command greeter-host is a host on go-plugin. It starts the plugin that is its
// argument.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/examples/migrating/before"
	"github.com/plugwire/plugwire/plugins/hello"
)

func main() {
	if err := greet(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func greet(path string) error {
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  before.Handshake,
		Plugins:          goplugin.PluginSet{"greeter": &before.GreeterPlugin{}},
		Cmd:              exec.Command(path),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Warn}),
	})
	defer client.Kill()
	conn, err := client.Client()
	if err != nil {
		return err
	}
	raw, err := conn.Dispense("greeter")
	if err != nil {
		return err
	}
	response, err := raw.(hello.GreeterClient).Greet(context.Background(), &hello.GreetRequest{Name: "world"})
	if err != nil {
		return err
	}
	fmt.Println(response.GetGreeting())
	return nil
}
