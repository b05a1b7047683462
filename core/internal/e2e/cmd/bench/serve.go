package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
)

// plainSocket is the variable with the path of the socket on which the plugin
// also serves plain grpc-go; a plugin inherits a user's variables.
const plainSocket = "BENCH_PLAIN_SOCKET"

// howMallocs asks for the number of allocations.
const howMallocs = "mallocs"

// handler also returns how often its process has allocated.
type handler struct{ echo.Handler }

func (h handler) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	if req.GetHow() != howMallocs {
		return h.Handler.Fail(ctx, req)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &echopb.Payload{Data: strconv.AppendUint(nil, m.Mallocs, 10)}, nil
}

func serveEcho() {
	if path := os.Getenv(plainSocket); path != "" {
		server, ln, err := plainServer(path)
		if err != nil {
			exit(err)
		}
		go func() { exit(server.Serve(ln)) }()
	}
	plugin.Main(echopb.ServeEcho(handler{}), plugin.WithTransports(ways.All()...))
}

func serveDuplex() {
	plugin.Main(duplexpb.ServeDuplex(&duplex.Handler{Other: plugin.Host}), plugin.WithTransports(ways.All()...))
}

// plainServer is the code of a program that uses grpc-go alone.
func plainServer(path string) (*grpc.Server, net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	server := grpc.NewServer()
	echopb.RegisterEchoServer(server, plainEcho{EchoHandler: handler{}})
	return server, ln, nil
}

type plainEcho struct {
	echopb.EchoHandler
	echopb.UnsafeEchoServer
}

// servePlain serves, and prints a line when it can be dialed, like a plugin.
func servePlain(path string) error {
	server, ln, err := plainServer(path)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return server.Serve(ln)
}
