package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
)

// greet is a handler: a type with a method for each method of the service.
type greet func(ctx context.Context, name string) (string, error)

func (f greet) Greet(ctx context.Context, request *greeter.GreetRequest) (*greeter.GreetResponse, error) {
	greeting, err := f(ctx, request.GetName())
	return &greeter.GreetResponse{Greeting: greeting}, err
}

// callOnce serves a handler to a host in this process, which calls it once.
func callOnce(handler greet, pluginOptions []plugin.Option, hostOptions ...host.Option) {
	t := exampletest.NewT()
	defer t.End()
	p := plugintest.StartWith(t, greeter.ServeGreeter(handler), exampletest.Loopback{}, pluginOptions, hostOptions...)
	response, err := greeter.NewGreeterClient(p).Greet(t.Context(), &greeter.GreetRequest{Name: "Ada"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.GetGreeting())
}

func hello(_ context.Context, name string) (string, error) { return "Hello, " + name + "!", nil }

// The main function of a plugin is one call. If a person starts it, it says that it is a
// plugin.
func ExampleServe() {
	// A program that has no main function of its own calls Main instead.
	err := plugin.Serve(context.Background(), greeter.ServeGreeter(greet(hello)),
		plugin.WithTransports(exampletest.Loopback{})) // unix.New(), for example
	if mistake, ok := errors.AsType[*handshake.Error](err); ok {
		fmt.Println(mistake.Reason)
	}
	// Output: this program is a plugin: it is meant to be started by its host application, not by hand
}

// A handler writes to the host's log.
func ExampleLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	callOnce(func(ctx context.Context, name string) (string, error) {
		plugin.Logger(ctx).InfoContext(ctx, "greeting", "name", name)
		return hello(ctx, name)
	}, []plugin.Option{plugin.WithLogger(logger)}) // by default it goes to the host
	// Output:
	// level=INFO msg=greeting name=Ada
	// Hello, Ada!
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}

// A handler calls a service of the host in the middle of a call.
func ExampleHost() {
	callOnce(func(ctx context.Context, name string) (string, error) {
		response, err := greeter.NewGreeterClient(plugin.Host(ctx)).Greet(ctx, &greeter.GreetRequest{Name: name})
		return "The host says: " + response.GetGreeting(), err
	}, nil, host.WithServices(greeter.ServeGreeter(greet(hello))))
	// Output: The host says: Hello, Ada!
}

// Functions run when the plugin stops, after the last call, the last added first.
func ExampleOnShutdown() {
	say := func(text string) plugin.Option {
		return plugin.OnShutdown(func(context.Context) error {
			fmt.Println(text)
			return nil
		})
	}
	callOnce(hello, []plugin.Option{say("the database is closed"), say("the cache is written")})
	// Output:
	// Hello, Ada!
	// the cache is written
	// the database is closed
}

// An interceptor sees every call of the application.
func ExampleWithInterceptors() {
	log := func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		response, err := next(ctx, request)
		fmt.Println(info.FullMethod, err)
		return response, err
	}
	callOnce(hello, []plugin.Option{plugin.WithInterceptors(log, nil)})
	// Output:
	// /greeter.Greeter/Greet <nil>
	// Hello, Ada!
}

// A plugin that cannot work for a while tells its host.
func ExampleSetHealth() {
	t := exampletest.NewT()
	defer t.End()
	p := plugintest.Start(t, greeter.ServeGreeter(greet(func(ctx context.Context, name string) (string, error) {
		plugin.SetHealth(ctx, false)
		return hello(ctx, name)
	})), exampletest.Loopback{})
	fmt.Println(p.Ping(t.Context()))
	if _, err := greeter.NewGreeterClient(p).Greet(t.Context(), &greeter.GreetRequest{Name: "Ada"}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(p.Ping(t.Context()) != nil)
	// Output:
	// <nil>
	// true
}

// A host sends bytes to a handler on a stream of their own.
func ExampleAcceptStream() {
	t := exampletest.NewT()
	defer t.End()
	p := plugintest.Start(t, greeter.ServeGreeter(greet(func(ctx context.Context, name string) (string, error) {
		conn, err := plugin.AcceptStream(ctx, "upload")
		if err != nil {
			return "", err
		}
		defer conn.Close()
		n, err := io.Copy(io.Discard, conn)
		return fmt.Sprintf("%s has sent %d bytes", name, n), err
	})), exampletest.Loopback{})

	go func() {
		conn, err := p.OpenStream(t.Context(), "upload") // returns when the handler has accepted it
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = conn.Write(make([]byte, 1000))
		if err = errors.Join(err, conn.Close()); err != nil {
			fmt.Println(err)
		}
	}()
	response, err := greeter.NewGreeterClient(p).Greet(t.Context(), &greeter.GreetRequest{Name: "Ada"})
	fmt.Println(response.GetGreeting(), err)
	// Output: Ada has sent 1000 bytes <nil>
}
