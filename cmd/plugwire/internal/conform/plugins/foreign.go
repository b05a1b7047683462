package plugins

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// The streams that a host on go-plugin opens at once.
const (
	startStream = "/plugin.GRPCBroker/StartStream"
	streamStdio = "/plugin.GRPCStdio/StreamStdio"
)

// foreignRules are about go-plugin's own services and its multiplexed mode.
func (s *suite) foreignRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 16", Name: "controller-shutdown", Profiles: conform.GoPlugin, Needs: []string{needHealth},
			Title: "The plugin ends when a host on go-plugin calls GRPCController/Shutdown.",
			Check: s.controllerShutdown,
		},
		{
			Section: "protocol 16", Name: "stdio-stream", Profiles: conform.GoPlugin, Needs: []string{needHealth},
			Title: "GRPCStdio/StreamStdio is a stream that goes on.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.goesOn(ctx, c, streamStdio, nil) },
		},
		{
			Section: "protocol 16", Name: "printed", Profiles: all, Needs: []string{needHealth},
			Title: "What the plugin prints while it serves reaches its host.",
			Check: s.printed,
		},
		{
			Section: "protocol 21", Name: "broker-stream", Profiles: conform.GoPlugin, Needs: []string{needHealth},
			Title: "GRPCBroker/StartStream is a stream that goes on, whatever the messages say.",
			Check: func(ctx context.Context, c *conform.Case) error {
				nonsense := protowire.AppendTag(nil, 2, protowire.BytesType) // a network that nobody knows
				nonsense = protowire.AppendString(nonsense, "carrier")
				return s.goesOn(ctx, c, startStream, nonsense)
			},
		},
		{
			Section: "protocol 21", Name: "multiplexed", Profiles: conform.GoPlugin, Needs: []string{needHealth},
			Title: "In the multiplexed mode, each stream of yamux is a connection.",
			Check: s.multiplexed,
		},
	}
}

func (s *suite) controllerShutdown(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	if _, err := s.unary(ctx, conn, controllerShutdown, nil); err != nil && !isCode(err, codes.Unavailable) {
		return conform.Fail("an empty answer to "+controllerShutdown, err.Error(), "serve plugin.GRPCController: a host on go-plugin kills a plugin without it after 2 s")
	}
	return p.exits(ctx, 0)
}

// goesOn opens a stream of go-plugin's, and checks that it does not end by itself.
func (s *suite) goesOn(ctx context.Context, c *conform.Case, method string, message []byte) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	const want = "the stream goes on"
	// Not a deadline: the plugin would know it, and end the stream itself.
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := watch(bounded, conn, method, message)
	if err != nil {
		return conform.Fail(want, err.Error(), "serve "+method)
	}
	if method == streamStdio {
		if err := stream.CloseSend(); err != nil {
			return err
		}
	}
	// A stream that is not served ends at once. The moment begins when the plugin has
	// answered a later call on this connection, and so it is as long under load.
	if err := s.ask(ctx, conn, ""); err != nil && !isCode(err, codes.NotFound) {
		return conform.Fail(want, "a call after it: "+err.Error(), "serve "+method)
	}
	const moment = 200 * time.Millisecond
	defer time.AfterFunc(moment, cancel).Stop()
	for {
		var got []byte
		err := stream.RecvMsg(&got)
		if bounded.Err() != nil {
			return p.serves(ctx, "after "+method)
		}
		if method == streamStdio && isCode(err, codes.Unimplemented) {
			return conform.NotApplicable("the plugin has no GRPCStdio, as the first releases of go-plugin")
		}
		if err != nil {
			return conform.Fail(want, err.Error(), "serve "+method+" until the host ends it")
		}
	}
}

// The channels of StdioData.
const (
	channelOut = 1
	channelErr = 2
)

// stdio collects which channels of a StreamStdio had text.
type stdio struct {
	mu    sync.Mutex // guards what follows
	seen  map[uint64]bool
	wrong uint64 // a channel that there is not
}

// read reads until the stream ends.
func (o *stdio) read(stream grpc.ClientStream) {
	for {
		var data []byte
		if stream.RecvMsg(&data) != nil {
			return // UNIMPLEMENTED if the plugin has no such stream
		}
		const fieldChannel = 1
		numbers, _ := varints(data) // a malformed message has no channel
		o.mu.Lock()
		if channel := numbers[fieldChannel]; channel == channelOut || channel == channelErr {
			o.seen[channel] = true
		} else {
			o.wrong = channel
		}
		o.mu.Unlock()
	}
}

// printed calls the method that prints, and waits for its text on every way to a host:
// the process's own output, and the stream of go-plugin.
func (s *suite) printed(ctx context.Context, c *conform.Case) error {
	if s.prints == "" {
		return conform.NotApplicable("no method is named that prints: see -prints")
	}
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	stream, err := watch(ctx, conn, streamStdio, nil)
	got := &stdio{seen: map[uint64]bool{}}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if err == nil && stream.CloseSend() == nil {
		wg.Go(func() { got.read(stream) })
	}
	out, errs := len(p.Stdout.Bytes()), len(p.Stderr.Bytes())
	text := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "printed by plugwire conform\n")
	if _, err := s.unary(ctx, conn, s.prints, text); err != nil {
		return conform.Fail("an answer of "+s.prints, err.Error(), "-prints is a method whose request may have a text in field 1")
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		got.mu.Lock()
		hasOut := got.seen[channelOut] || len(p.Stdout.Bytes()) > out
		hasErr := got.seen[channelErr] || len(p.Stderr.Bytes()) > errs
		wrong := got.wrong
		got.mu.Unlock()
		if wrong != 0 {
			return conform.Fail("messages of channel 1 or 2", fmt.Sprintf("channel %d", wrong), "1 is standard output, 2 standard error")
		}
		if hasOut && hasErr {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return conform.Fail("text on standard output and standard error", fmt.Sprintf("standard output: %v, standard error: %v", hasOut, hasErr),
				"flush what the program prints, and serve GRPCStdio if the program takes its own output away")
		}
	}
}

// multiplexed asks for go-plugin's mode with one connection.
func (s *suite) multiplexed(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{multiplex: "true"})
	if err != nil {
		return err
	}
	if p.mux != "true" {
		return conform.NotApplicable("the plugin has no multiplexed mode")
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	session, err := yamux.Client(conn, cfg)
	if err != nil {
		return err
	}
	p.c.Own(session)
	for range 2 {
		stream, err := session.Open()
		if err != nil {
			return err
		}
		if err := stream.SetDeadline(time.Now().Add(s.callTimeout)); err != nil {
			return err
		}
		answered, err := speaks(stream)
		if err != nil || !answered {
			return conform.Fail("HTTP/2 on a stream of yamux", fmt.Sprintf("nothing: %v", err), "see section 21")
		}
	}
	return nil
}
