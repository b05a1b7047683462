// Command greeter-host is the same host on Plugwire.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	if err := greet(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func greet(ctx context.Context, path string) (err error) {
	p, err := host.Launch(ctx, exec.Command(path),
		host.WithProtocols(hello.GreeterProtocol),
		host.WithTransports(unix.New(), tcp.New()),
		host.WithCookie("GREETER_PLUGIN", "hello"),
		host.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	response, err := hello.NewGreeterClient(p).Greet(ctx, &hello.GreetRequest{Name: "world"})
	if err != nil {
		return err
	}
	fmt.Println(response.GetGreeting())
	return nil
}
