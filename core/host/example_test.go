package host_test

import (
	"context"
	"crypto"
	_ "crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
)

// greeterPlugin returns the command of the plugin: in the Examples it is this
// program.
func greeterPlugin() *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), greeterVariable+"=1")
	return cmd
}

// options are what every launch here needs.
func options(more ...host.Option) []host.Option {
	return append([]host.Option{
		host.WithProtocols(greeter.GreeterProtocol),
		host.WithTransports(exampletest.Loopback{}), // unix.New(), for example
	}, more...)
}

// A host launches a plugin, calls it, and stops it.
func Example() {
	ctx := context.Background()
	p, err := host.Launch(ctx, greeterPlugin(), // exec.Command("./greeter-plugin"), for example
		host.WithProtocols(greeter.GreeterProtocol),
		host.WithTransports(exampletest.Loopback{})) // unix.New(), for example
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := greeter.NewGreeterClient(p).Greet(ctx, &greeter.GreetRequest{Name: "Ada"})
	if err := errors.Join(err, p.Close()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.GetGreeting())
	// Output: Hello, Ada!
}

// A start that fails says how far it came and what to do.
func ExampleStartError() {
	_, err := host.Launch(context.Background(), exec.Command("/plugins/greeter"), options()...)
	if start, ok := errors.AsType[*host.StartError](err); ok {
		fmt.Println(start.Phase)
		fmt.Println(start.Hint)
	}
	fmt.Println(errors.Is(err, os.ErrNotExist))
	// Output:
	// start
	// check the path of the plugin, and that it was built
	// true
}

// The process of a plugin ends in the middle of a call.
func ExampleExitError() {
	ctx := context.Background()
	p, err := host.Launch(ctx, greeterPlugin(), options()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = greeter.NewGreeterClient(p).Greet(ctx, &greeter.GreetRequest{}) // which it does not survive
	if exit, ok := errors.AsType[*host.ExitError](err); ok {
		fmt.Println(status.Code(err), "because of", exit.Status)
	}
	<-p.Done() // nothing is left of it
	fmt.Println(p.Err() != nil)
	// Output:
	// Unavailable because of exit code 3
	// true
}

// hostGreeting is a handler of the host's own.
type hostGreeting struct{}

func (hostGreeting) Greet(context.Context, *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	return &greeter.GreetResponse{Greeting: "Hello, says the host"}, nil
}

// The host serves its plugin, which calls it in the middle of a call.
func ExampleWithServices() {
	ctx := context.Background()
	p, err := host.Launch(ctx, greeterPlugin(), options(host.WithServices(greeter.ServeGreeter(hostGreeting{})))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := greeter.NewGreeterClient(p).Greet(ctx, &greeter.GreetRequest{Name: "host"})
	fmt.Println(response.GetGreeting(), errors.Join(err, p.Close()))
	// Output: Hello, says the host <nil>
}

// Hooks report each step in the life of a plugin.
func ExampleWithTrace() {
	ended := make(chan struct{})
	trace := &host.Trace{
		Answer:        func(e host.AnswerEvent) { fmt.Println("version", e.Version, "over", e.Transport) },
		Ready:         func(e host.ReadyEvent) { fmt.Println("ready, authenticated by", e.Info.Security) },
		Stopping:      func(e host.StoppingEvent) { fmt.Println("stopping:", e.Step) },
		ProcessExited: func(e host.ProcessExitedEvent) { fmt.Println(e.Status); close(ended) },
	}
	p, err := host.Launch(context.Background(), greeterPlugin(), options(host.WithTrace(trace))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Close(); err != nil {
		fmt.Println(err)
	}
	<-ended
	// Output:
	// version 1 over tcp/1
	// ready, authenticated by mtls
	// stopping: ask
	// exit code 0
}

// A plugin is run only if it is the program that it must be.
func ExampleWithChecksum() {
	cmd := greeterPlugin()
	sum, err := sumOf(cmd.Path) // in life it comes from somewhere else
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := host.Launch(context.Background(), cmd, options(host.WithChecksum(crypto.SHA256, sum))...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("it runs, and ends with:", p.Close())

	sum[0]++
	_, err = host.Launch(context.Background(), cmd, options(host.WithChecksum(crypto.SHA256, sum))...)
	fmt.Println("another does not:", errors.Is(err, host.ErrChecksum))
	// Output:
	// it runs, and ends with: <nil>
	// another does not: true
}

func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := crypto.SHA256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}

// What a plugin prints that is started with PLUGWIRE_DEBUG=1 is what Attach takes.
func ExampleParseAttachInfo() {
	info, err := handshake.ParseAttachInfo(`{"greeter":{"plugwire":1,"protocol":"greeter","version":1,"transport":"unix/1","address":"/tmp/s","security":"peercred","stays":true}}`)
	fmt.Println(info.Protocol, info.Transport, info.Stays, err)
	// Output: greeter unix/1 true <nil>
}

// A host starts every plugin of a directory.
func ExampleDiscover() {
	dir, err := os.MkdirTemp("", "plugins-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "old-plugin"), 0o700); err != nil {
		fmt.Println(err)
		return
	}
	programs, skipped, err := host.Discover(dir, "*-plugin")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, program := range programs {
		fmt.Println("launch", program)
	}
	for _, s := range skipped {
		fmt.Println("left out:", filepath.Base(s.Path), s.Err)
	}
	// Output: left out: old-plugin it is a directory
}
