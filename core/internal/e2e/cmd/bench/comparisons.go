package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// These are the aims. Those of quic leave room for the work that it does in the
// program, packet by packet, and TCP in the kernel.
const (
	aimRatio      = 1.1  // ratio of any value, in the default configuration, to plain grpc-go
	aimTLSMillis  = 3    // additional time of a start with TLS
	aimQUICUnary  = 1.35 // ratio of a call over quic to one over tcp
	aimQUICStream = 0.35 // ratio of the throughput of quic to that of tcp
)

const (
	startName = "start to first answer"

	chunk  = 64 << 10
	chunks = 256 // a stream has 16 MiB, which hides the cost of opening it
)

// comparisons has everything that bench measures.
var comparisons = []comparison{
	{
		name:  "grpc-go",
		title: "Plugwire beside plain grpc-go, over unix sockets between the same two processes",
		open:  openPlain,
		measurements: []measurement{
			{startName, millis, atMost(aimRatio), starting},
			{"unary 64 B, 1 caller", microsACall, atMost(aimRatio), unary(64, 1)},
			{"unary 64 B, 64 callers", microsACall, atMost(aimRatio), unary(64, 64)},
			{"echo 64 KiB", microsACall, atMost(aimRatio), unary(64<<10, 1)},
			{"echo 1 MiB", microsACall, atMost(aimRatio), unary(1<<20, 1)},
			{"server stream of 1 KiB", microsAMessage, atMost(aimRatio), download(1<<10, 1000)},
		},
		allocs:    true,
		allocsAim: atMost(aimRatio),
	},
	{
		name:  "tls",
		title: "A start with TLS forced beside the default, over unix sockets",
		open:  openTLS,
		measurements: []measurement{
			{startName, millis, atMostMore(aimTLSMillis, millis.name), starting},
		},
	},
	{
		name:  "automtls",
		title: "The same with go-plugin 1.8 on both sides, whose name for it is AutoMTLS",
		open:  openAutoMTLS,
		measurements: []measurement{
			{startName, millis, aim{}, starting},
		},
	},
	{
		// One side has a yamux session, so this also shows the cost that an
		// ordinary call over a direct session does not have.
		name:  "transports",
		title: "Transports beside unix, each with its defaults",
		open:  openTransports,
		measurements: []measurement{
			{startName, millis, aim{}, starting},
			{"unary 64 B, 1 caller, p50", microsACall, aim{}, typical(echoOf(64))},
			{"unary 64 B, 64 callers", callsASecond, aim{}, unary(64, 64)},
			{"server stream of 64 KiB", mebibytesASecond(chunk), aim{}, download(chunk, chunks)},
			{"host calls plugin calls host, p50", microsACall, aim{}, typical(thereAndBack)},
		},
		allocs: true,
	},
	{
		name:  "quic",
		title: "quic beside tcp, both with mutual TLS and one gRPC connection",
		open:  openQUIC,
		measurements: []measurement{
			{"unary 64 B, 1 caller, p50", microsACall, atMost(aimQUICUnary), typical(echoOf(64))},
			{"server stream of 64 KiB", mebibytesASecond(chunk), atLeast(aimQUICStream), download(chunk, chunks)},
		},
	},
}

func openPlain(ctx context.Context, at *place) ([]side, error) {
	socket := filepath.Join(at.dir, "both")
	p, err := at.launchEcho(ctx, []string{plainSocket + "=" + socket}, host.WithTransports(unix.New()))
	if err != nil {
		return nil, err
	}
	plain, err := at.dialPlain(socket)
	if err != nil {
		return nil, err
	}
	starts := 0
	return []side{
		{name: "grpc-go", echo: plain, start: func(ctx context.Context) (time.Duration, error) {
			starts++
			return startPlain(ctx, at.self, filepath.Join(at.dir, fmt.Sprint("plain", starts)))
		}},
		{name: "plugwire", note: describe(p), echo: echoClient(p), start: starter(at.self, host.WithTransports(unix.New()))},
	}, nil
}

func openTLS(_ context.Context, at *place) ([]side, error) {
	over := host.WithTransports(unix.New())
	return []side{
		{name: "default", start: starter(at.self, over)},
		{name: "TLS forced", start: starter(at.self, over, host.WithMutualTLS())},
	}, nil
}

// goPluginPeer is a program of its own: linked into this one, go-plugin would slow
// every start that is measured.
const goPluginPeer = "github.com/plugwire/plugwire/core/internal/e2e/cmd/goplugin-peer"

func openAutoMTLS(ctx context.Context, at *place) ([]side, error) {
	path := filepath.Join(at.dir, "goplugin-peer")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, goPluginPeer).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", goPluginPeer, err, out)
	}
	start := func(args ...string) func(context.Context) (time.Duration, error) {
		return func(ctx context.Context) (time.Duration, error) {
			out, err := exec.CommandContext(ctx, path, append([]string{"time"}, args...)...).Output()
			if err != nil {
				return 0, err
			}
			nanos, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
			return time.Duration(nanos), err
		}
	}
	return []side{{name: "plain", start: start()}, {name: "AutoMTLS", start: start("-mtls")}}, nil
}

func openTransports(ctx context.Context, at *place) ([]side, error) {
	var sides []side
	for _, t := range ways.All() { // unix comes first
		over := host.WithTransports(t)
		p, err := at.launchEcho(ctx, nil, over)
		if err != nil {
			return nil, err
		}
		duplex, err := at.launchDuplex(ctx, over)
		if err != nil {
			return nil, err
		}
		sides = append(sides, side{
			name:   t.Name(),
			note:   describe(p),
			echo:   echoClient(p),
			duplex: duplex,
			start:  starter(at.self, over),
		})
	}
	return sides, nil
}

func openQUIC(ctx context.Context, at *place) ([]side, error) {
	overTCP, err := at.launchEcho(ctx, nil, host.WithTransports(tcp.New()))
	if err != nil {
		return nil, err
	}
	overQUIC, err := at.launchEcho(ctx, nil, host.WithTransports(quic.New()))
	if err != nil {
		return nil, err
	}
	return []side{
		{name: "tcp", note: describe(overTCP), echo: echoClient(overTCP)},
		{name: "quic", note: describe(overQUIC), echo: echoClient(overQUIC)},
	}, nil
}
