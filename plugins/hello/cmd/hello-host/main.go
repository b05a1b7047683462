// Command hello-host starts the plugin beside it, or the one named as argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(self), "hello-plugin")
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	p, err := host.Launch(context.Background(), exec.Command(path),
		host.WithProtocols(hello.GreeterProtocol), host.WithTransports(unix.New()))
	if err != nil {
		log.Fatal(err)
	}
	response, err := hello.NewGreeterClient(p).Greet(context.Background(), &hello.GreetRequest{Name: "world"})
	if err := errors.Join(err, p.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.GetGreeting())
}
