package plugins

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// The methods by which a host asks a plugin to end.
const (
	controlShutdown    = "/plugwire.v1.Control/Shutdown"
	controllerShutdown = "/plugin.GRPCController/Shutdown"
)

// stopRules are about the end that the host asks for.
func (s *suite) stopRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 13", Name: "ends", Profiles: all, Needs: []string{needOurs},
			Title: "The plugin ends with exit code 0 when a host asks, and removes its socket.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.start(ctx, c, ours())
				if err != nil {
					return err
				}
				if err := p.stop(ctx); err != nil {
					return err
				}
				return p.socketGone()
			},
		},
		{
			Section: "protocol 13", Name: "control-shutdown", Needs: []string{needFields},
			Title: "The plugin answers Control/Shutdown at once, also a second time, and ends with exit code 0.",
			Check: s.controlShutdown,
		},
		{
			Section: "protocol 13", Name: "silent-connection-at-the-end", Profiles: conform.Minimal, Needs: []string{"protocol-13/ends"},
			Title: "A connection that says nothing does not hold up the end.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.start(ctx, c, ours())
				if err != nil {
					return err
				}
				if _, err := p.dial(ctx); err != nil {
					return err
				}
				return withAdvice(p.stop(ctx), "close connections on which no call has come, and do not wait for them")
			},
		},
		{
			Section: "protocol 13", Name: "sigterm", Profiles: conform.Minimal, Needs: []string{needAnswer},
			Title: "SIGTERM ends the plugin in good order: exit code 0, and no socket.",
			Check: func(ctx context.Context, c *conform.Case) error {
				if !hasSignals {
					return conform.NotApplicable("this system has no signals")
				}
				p, err := s.start(ctx, c, offer{})
				if err != nil {
					return err
				}
				if err := p.Signal(syscall.SIGTERM); err != nil {
					return err
				}
				if err := p.exits(ctx, 0); err != nil {
					return withAdvice(err, "handle SIGTERM from before the answer on: end as after a shutdown")
				}
				return p.socketGone()
			},
		},
		{
			Section: "protocol 13", Name: "sigint", Profiles: all, Needs: []string{needHealth},
			Title: "SIGINT is ignored: a terminal sends it to the plugin as well as to the host.",
			Check: s.sigint,
		},
	}
}

// stop asks the plugin to end as a host does, and waits for the end.
func (p *answeredPlugin) stop(ctx context.Context) error {
	conn, err := p.client()
	if err != nil {
		return err
	}
	method, request := controllerShutdown, []byte(nil)
	if !p.foreign() {
		method, request = controlShutdown, graceRequest(p.suite.grace)
	}
	_, err = p.suite.unary(ctx, conn, method, request)
	switch {
	case isCode(err, codes.Unimplemented) && hasSignals:
		if err := p.Signal(syscall.SIGTERM); err != nil {
			return err
		}
	case err != nil && !isCode(err, codes.Unavailable): // it may be quicker than its answer
		return conform.Fail("an answer to "+method, err.Error(), "answer before you end")
	}
	return p.exits(ctx, 0)
}

// graceRequest is a ShutdownRequest.
func graceRequest(grace time.Duration) []byte {
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(grace.Milliseconds()))
}

// socketGone checks that the plugin has removed its socket.
func (p *answeredPlugin) socketGone() error {
	if p.network != "unix" {
		return nil
	}
	if _, err := os.Lstat(p.address); err == nil {
		return conform.Fail("the socket is removed", p.address+" is there", "remove it before the process ends")
	}
	return nil
}

// controlShutdown asks twice.
func (s *suite) controlShutdown(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, ours())
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	if _, err := s.unary(ctx, conn, controlShutdown, graceRequest(s.grace)); err != nil {
		return conform.Fail("an empty answer to "+controlShutdown, err.Error(), "answer at once, and end after that")
	}
	if _, err := s.unary(ctx, conn, controlShutdown, nil); err != nil && !isCode(err, codes.Unavailable) {
		return conform.Fail("an empty answer to the second call, or UNAVAILABLE", err.Error(), "asking again changes nothing")
	}
	if err := p.exits(ctx, 0); err != nil {
		return err
	}
	return p.socketGone()
}

// sigint sends the signal, and watches for a moment. That can only miss a plugin that
// ends, and never take one that lives for one that ends.
func (s *suite) sigint(ctx context.Context, c *conform.Case) error {
	if !hasSignals {
		return conform.NotApplicable("this system has no signals")
	}
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	// Plugins on go-plugin ignore the signal from when they serve, and not before.
	if err := p.serves(ctx, "before SIGINT"); err != nil {
		return err
	}
	if err := p.Signal(os.Interrupt); err != nil {
		return err
	}
	const moment = 300 * time.Millisecond
	bounded, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	if exit, err := p.Wait(bounded); err == nil {
		return conform.Fail("the process goes on", exit.String(), "ignore SIGINT: the host decides when the plugin ends")
	}
	return p.serves(ctx, "after SIGINT")
}

// watch opens a stream that goes on, and returns an error if the plugin does not take it.
func watch(ctx context.Context, conn *grpc.ClientConn, method string, request []byte) (grpc.ClientStream, error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodec(bytesCodec{}))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	if err := stream.SendMsg(&request); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return stream, nil
}
