// Package grpcinterop has a plugin that serves the test service of gRPC's own
// interoperability tests, and a host that runs their cases against it.
package grpcinterop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/protocol"
)

// limit bounds all cases together, which take a second or two.
const limit = time.Minute

// Host is the program interop-host. It runs the cases against a plugin, on one wire over one
// transport. WAY is one of ways.Wired:
//
//	interop-host WAY PLUGIN
//
// The program is a process of its own because a case that fails ends its process. It prints
// the name of each case first.
func Host() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: interop-host WAY PLUGIN")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(way, plugin string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p, err := host.Launch(ctx, exec.Command(plugin),
		append(ways.Options(way), host.WithProtocols(protocol.New("grpc.testing", 1, &testgrpc.TestService_ServiceDesc)))...)
	if err != nil {
		return err
	}
	for _, c := range cases {
		fmt.Fprintln(os.Stderr, "case", c.name)
		if err := c.run(ctx, p); err != nil {
			_ = p.Close() // the case's error comes first
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return p.Close()
}

// cases has all cases of package interop except these:
//
//   - DoComputeEngineCreds, DoServiceAccountCreds, DoJWTTokenCreds,
//     DoOauth2TokenCreds, DoPerRPCCreds, DoGoogleDefaultCredentials and
//     DoComputeEngineChannelCredentials need an account of a cloud.
//   - DoUnimplementedMethod takes a *grpc.ClientConn, and a plugin is not one.
//     Its replacement here makes the same call.
//   - DoSoakTest makes a *grpc.ClientConn of its own for each call.
//   - DoORCAPerRPCTest and DoORCAOOBTest are about a load balancer that chooses
//     a server by what servers report. A plugin is one server.
var cases = []testCase{
	{"DoEmptyUnaryCall", each(interop.DoEmptyUnaryCall)},
	{"DoLargeUnaryCall", each(interop.DoLargeUnaryCall)},
	{"DoClientStreaming", each(interop.DoClientStreaming)},
	{"DoServerStreaming", each(interop.DoServerStreaming)},
	{"DoPingPong", each(interop.DoPingPong)},
	{"DoEmptyStream", each(interop.DoEmptyStream)},
	{"DoTimeoutOnSleepingServer", each(interop.DoTimeoutOnSleepingServer)},
	{"DoCancelAfterBegin", each(interop.DoCancelAfterBegin)},
	{"DoCancelAfterFirstResponse", each(interop.DoCancelAfterFirstResponse)},
	{"DoCustomMetadata", each(interop.DoCustomMetadata)},
	{"DoStatusCodeAndMessage", each(interop.DoStatusCodeAndMessage)},
	{"DoSpecialStatusMessage", each(interop.DoSpecialStatusMessage)},
	{"DoPickFirstUnary", func(ctx context.Context, p *host.Plugin) error {
		interop.DoPickFirstUnary(ctx, testgrpc.NewTestServiceClient(p))
		return nil
	}},
	{"DoUnimplementedService", func(ctx context.Context, p *host.Plugin) error {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(p))
		return nil
	}},
	{"unimplemented method", unimplementedMethod},
}

type testCase struct {
	name string
	run  func(context.Context, *host.Plugin) error
}

// each adapts the form that most cases have. A case that fails ends the
// process.
func each(do func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, *host.Plugin) error {
	return func(ctx context.Context, p *host.Plugin) error {
		do(ctx, testgrpc.NewTestServiceClient(p))
		return nil
	}
}

// unimplementedMethod calls one that the server's description lacks.
func unimplementedMethod(ctx context.Context, p *host.Plugin) error {
	var empty testgrpc.Empty
	st := status.Convert(p.Invoke(ctx, "/grpc.testing.TestService/NoSuchCall", &empty, &empty))
	if st.Code() != codes.Unimplemented {
		return fmt.Errorf("got %s, want code %s", st, codes.Unimplemented)
	}
	return nil
}
