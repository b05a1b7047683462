package plugins

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

const healthCheck = "/grpc.health.v1.Health/Check"

// callRules are about gRPC, and the services of every plugin.
func (s *suite) callRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 12", Name: "health", Profiles: all, Needs: []string{needAnswer, "protocol-6/unasked-certificate"},
			Title: "The service plugin is healthy as soon as the plugin has answered.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.healthy(ctx, c, "plugin") },
		},
		{
			Section: "protocol 12", Name: "health-of-all", Profiles: all, Needs: []string{needHealth},
			Title: "The service with the empty name is healthy too.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.healthy(ctx, c, "") },
		},
		{
			Section: "protocol 12", Name: "info", Needs: []string{needFields},
			Title: "Control/Info tells the version and the process.",
			Check: s.info,
		},
		{
			Section: "protocol 12", Name: "reflection", Needs: []string{needFields},
			Title: "Reflection lists the services, and none of package plugin.",
			Check: s.reflection,
		},
		{
			Section: "protocol 11", Name: "unknown-method", Profiles: all, Needs: []string{needHealth},
			Title: "A method that the plugin does not have is UNIMPLEMENTED.",
			Check: s.unknownMethod,
		},
		{
			Section: "protocol 11", Name: "many-calls", Profiles: all, Needs: []string{needHealth},
			Title: "200 calls at the same time are answered.",
			Check: s.manyCalls,
		},
		{
			Section: "protocol 11", Name: "large-message", Profiles: conform.GoPlugin, Needs: []string{needHealth},
			Title: "A message of 8 MiB reaches the plugin.",
			Check: s.largeMessage,
		},
		{
			Section: "protocol 11", Name: "large-metadata", Profiles: all, Needs: []string{needHealth},
			Title: "A call with 64 KiB of metadata is answered or refused, and other calls go on.",
			Check: s.largeMetadata,
		},
		{
			Section: "protocol 9", Name: "many-connections", Profiles: all, Needs: []string{needHealth},
			Title: "The plugin serves several connections, and new ones when others have ended.",
			Check: s.manyConnections,
		},
	}
}

func (s *suite) healthy(ctx context.Context, c *conform.Case, service string) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	if err := s.ask(ctx, conn, service); err != nil {
		return conform.Fail("the status SERVING", err.Error(), fmt.Sprintf("serve grpc.health.v1.Health, and set the service %q to SERVING before you answer", service))
	}
	return nil
}

func (s *suite) info(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, ours())
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	answer, err := s.unary(ctx, conn, "/plugwire.v1.Control/Info", nil)
	if err != nil {
		return conform.Fail("an answer to Control/Info", err.Error(), "serve plugwire.v1.Control")
	}
	const fieldVersion, fieldPid = 2, 3
	numbers, err := varints(answer)
	if err != nil {
		return conform.Fail("a message of the form in section 12", err.Error(), "compare it with control.proto")
	}
	if numbers[fieldVersion] != uint64(p.version) || numbers[fieldPid] != uint64(p.Pid()) {
		return conform.Fail(fmt.Sprintf("version %d and process %d", p.version, p.Pid()), fmt.Sprintf("version %d and process %d", numbers[fieldVersion], numbers[fieldPid]),
			"tell what was negotiated, and the process of the plugin")
	}
	return nil
}

// varints returns the numbers of a message.
func varints(message []byte) (map[protowire.Number]uint64, error) {
	found := map[protowire.Number]uint64{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		message = message[n:]
		if kind == protowire.VarintType {
			if found[number], n = protowire.ConsumeVarint(message); n < 0 {
				return nil, protowire.ParseError(n)
			}
		} else if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return nil, protowire.ParseError(n)
		}
		message = message[n:]
	}
	return found, nil
}

func (s *suite) reflection(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, ours())
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	const fieldListServices = 7
	request := protowire.AppendTag(nil, fieldListServices, protowire.BytesType)
	request = protowire.AppendString(request, "*")
	for _, version := range []string{"v1", "v1alpha"} {
		const advice = "register gRPC's reflection, in both versions"
		stream, err := watch(ctx, conn, "/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo", request)
		if err != nil {
			return conform.Fail("reflection "+version, err.Error(), advice)
		}
		var answer []byte
		if err := stream.RecvMsg(&answer); err != nil {
			return conform.Fail("reflection "+version, err.Error(), advice)
		}
		// The names are text in the message, whatever is around them.
		if !strings.Contains(string(answer), "grpc.health.v1.Health") || strings.Contains(string(answer), "plugin.GRPC") {
			return conform.Fail("a list with grpc.health.v1.Health, and without plugin.GRPCBroker", fmt.Sprintf("%q", clip(string(answer))), "list the services of section 12")
		}
	}
	return nil
}

func (s *suite) unknownMethod(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	for _, method := range []string{"/conform.Nobody/Serves", "/grpc.health.v1.Health/Nobody"} {
		if _, err := p.suite.unary(ctx, conn, method, nil); !isCode(err, codes.Unimplemented) {
			return conform.Fail("UNIMPLEMENTED for "+method, fmt.Sprint(err), "let gRPC answer: hosts find out in this way what a plugin has")
		}
	}
	return nil
}

func (s *suite) manyCalls(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	const calls = 200
	errs := make([]error, calls)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.ask(ctx, conn, "plugin") })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return conform.Fail("an answer to each call", err.Error(), "do not bound calls in flight below the default of section 11")
		}
	}
	return nil
}

func (s *suite) largeMessage(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	const size = 8 << 20
	request := protowire.AppendTag(nil, 1, protowire.BytesType)
	request = protowire.AppendString(request, strings.Repeat("a", size))
	if _, err := s.unary(ctx, conn, healthCheck, request); !isCode(err, codes.NotFound) {
		text := fmt.Sprint(err)
		return conform.Fail("NOT_FOUND for the health of a service with a name of 8 MiB", clip(text), "raise the limit of gRPC's messages to 256 MiB: its default is 4 MiB")
	}
	return p.serves(ctx, "after a large message")
}

func (s *suite) largeMetadata(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	conn, err := p.client()
	if err != nil {
		return err
	}
	const size = 64 << 10
	large := metadata.AppendToOutgoingContext(ctx, "x-conform", strings.Repeat("a", size))
	err = s.ask(large, conn, "plugin")
	refused := []codes.Code{codes.OK, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.Unknown}
	if !slices.Contains(refused, status.Code(err)) {
		return conform.Fail("an answer or a refusal", clip(fmt.Sprint(err)), "refuse the call alone if the metadata is above a limit")
	}
	return p.serves(ctx, "after large metadata")
}

func (s *suite) manyConnections(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	for range 3 {
		for range 3 {
			conn, err := p.client()
			if err != nil {
				return err
			}
			if err := s.ask(ctx, conn, "plugin"); err != nil {
				return conform.Fail("the plugin serves each connection", err.Error(), "accept connections until the end")
			}
		}
		if err := p.serves(ctx, "after a connection has ended"); err != nil {
			return err
		}
	}
	return nil
}
