// Package misbehave is the command misbehave. It is a plugin whose flags and calls make
// it do things that are allowed but rare. It serves the echo service.
package misbehave

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

// Main is the command.
func Main() {
	var (
		binding    = echopb.ServeEcho(handler{})
		opts       = []plugin.Option{plugin.WithTransports(unix.New())}
		option     = func(o plugin.Option) { opts = append(opts, o) }
		cookie     = flag.String("cookie", "", "`name=value` to expect")
		versions   = flag.String("protocol", "", "`name` of the protocol whose versions 1 and 2 to serve")
		flood      = flag.Int("flood", 0, "`bytes` of one line to print on both streams first")
		mutter     = flag.Bool("mutter", false, "print lines first, and an unfinished one before the answer")
		maxMessage = flag.Int("max-message", 0, "largest message in `bytes`")
		hooks      = flag.String("hooks", "", "comma-separated `ways` in which shutdown functions end, in order of addition")
		ready      = flag.String("ready", "", "comma-separated `ways` in which functions of OnReady end, in order of addition")
		ownTLS     = flag.String("tls", "", "PEM `file` with key, certificate and root")
		outlives   = flag.Bool("outlives", false, "keep running when a go-plugin host has died")
		noTerm     = flag.Bool("ignores-sigterm", false, "leave SIGTERM to the host")
		intercept  = flag.Bool("intercept", false, "log what interceptors see")
	)
	flag.Parse()

	if name, value, ok := strings.Cut(*cookie, "="); ok {
		option(plugin.WithCookie(name, value))
	}
	if *versions != "" {
		binding = twoVersions(*versions)
	}
	if *flood > 0 {
		printLine(*flood)
	}
	if *mutter {
		fmt.Print("welcome\n1|2 is not an answer\nloading...")
	}
	if *maxMessage > 0 {
		option(plugin.WithMaxMessageSize(*maxMessage))
	}
	if *hooks != "" {
		for way := range strings.SplitSeq(*hooks, ",") {
			option(plugin.OnShutdown(func(ctx context.Context) error { return shutDown(ctx, way) }))
		}
	}
	if *ready != "" {
		for way := range strings.SplitSeq(*ready, ",") {
			option(plugin.OnReady(getReady(way)))
		}
	}
	if *ownTLS != "" {
		cfg, err := tlsConfig(*ownTLS)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		option(plugin.WithTLSConfig(cfg))
	}
	if *outlives {
		option(plugin.OutlivesHost())
	}
	if *noTerm {
		option(plugin.IgnoresSIGTERM())
	}
	if *intercept {
		option(plugin.WithInterceptors(logUnary, logStream))
	}
	plugin.Main(binding, opts...)
}

func twoVersions(name string) protocol.Binding {
	bind := func(version int) protocol.Binding {
		return protocol.Bind(protocol.New(name, version, &echopb.Echo_ServiceDesc), versionHandler{version: version})
	}
	return protocol.Join(bind(1), bind(2))
}

// printLine prints a line of n bytes, newline included, on both streams.
func printLine(n int) {
	for stream, letter := range map[*os.File]string{os.Stdout: "o", os.Stderr: "e"} {
		if _, err := stream.WriteString(strings.Repeat(letter, n-1) + "\n"); err != nil {
			panic(err)
		}
	}
}

// lastLine is the length of a shutdown function's output: half of what a pipe holds.
const lastLine = 32 << 10

// shutDown is a shutdown function that logs that it ran.
func shutDown(ctx context.Context, way string) error {
	plugin.Logger(ctx).InfoContext(ctx, "shutdown function", "way", way)
	switch way {
	case "error":
		return errors.New("could not save the state")
	case "panic":
		panic("nothing to save")
	case "hang":
		select {}
	case "print":
		printLine(lastLine)
		return nil
	case "slow": // for longer than a host waits after its connection is lost
		time.Sleep(time.Second)
		plugin.Logger(ctx).InfoContext(ctx, "shutdown function is done")
		return nil
	default:
		return nil
	}
}

// getReady returns a function for OnReady.
func getReady(way string) func(context.Context) error {
	ran := 0
	return func(ctx context.Context) error {
		ran++
		switch way {
		case "error":
			return errors.New("no licence")
		case "panic":
			panic("no licence")
		case "goexit":
			runtime.Goexit()
		case "exit":
			os.Exit(3)
		case "hang":
			<-ctx.Done()
			select {}
		case "once":
			if ran > 1 {
				return errors.New("this is the second time")
			}
		}
		return nil
	}
}

func tlsConfig(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, MinVersion: tls.VersionTLS13}, nil
}

func logUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	plugin.Logger(ctx).InfoContext(ctx, "intercepted", "method", info.FullMethod)
	return next(ctx, req)
}

func logStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	plugin.Logger(ss.Context()).InfoContext(ss.Context(), "intercepted", "method", info.FullMethod)
	return next(srv, ss)
}
