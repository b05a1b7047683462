package peers

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	"github.com/plugwire/plugwire/bench/internal/launch"
)

func grpcGo() []*Peer {
	return []*Peer{{Name: GRPC, Plugin: "grpc", Note: "its defaults, over a unix socket without TLS", start: startGRPC}}
}

func startGRPC(_ context.Context, at place) (*Session, error) {
	process, err := launch.Start(at.command(), "unix")
	if err != nil {
		return nil, err
	}
	cc, err := grpc.NewClient("unix://"+process.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Join(err, process.Close())
	}
	return grpcSession(echopb.NewEchoClient(cc), process.PID(), func() error { return errors.Join(cc.Close(), process.Close()) }), nil
}

// grpcSession is the session of a framework that uses gRPC's generated code.
func grpcSession(echo echopb.EchoClient, pid int, closeAll func() error) *Session {
	c := grpcecho.Client{Echo: echo}
	return &Session{
		PID:          pid,
		Unary:        c.Unary,
		Mixed:        c.Mixed,
		Metadata:     c.Metadata,
		ServerStream: c.ServerStream,
		ClientStream: c.ClientStream,
		Bidi:         c.Bidi,
		Close:        closeAll,
	}
}
