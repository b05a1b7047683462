package differential

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// maxMessage is the limit on messages of all columns, in bytes.
const maxMessage = 100_000

// column is one way to make calls.
type column struct {
	name string
	conn grpc.ClientConnInterface
	// back returns the connection of a handler to its caller.
	back func(ctx context.Context) grpc.ClientConnInterface
}

// plainColumn is grpc-go without Plugwire.
const plainColumn = "grpc-go"

// startPlain returns the column of grpc-go, with the settings of package h2 that users can
// see.
func startPlain(tb testing.TB) column {
	tb.Helper()
	host := servePlain(tb, "host")
	return column{
		name: plainColumn,
		conn: servePlain(tb, "plugin"),
		back: func(context.Context) grpc.ClientConnInterface { return host },
	}
}

// servePlain returns a connection to a new server.
func servePlain(tb testing.TB, name string) *grpc.ClientConn {
	tb.Helper()
	ln, err := net.Listen("unix", filepath.Join(tb.TempDir(), name))
	if err != nil {
		tb.Fatal(err)
	}
	unary, stream := interceptServer(name)
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream),
		grpc.StatsHandler(observer{}),
	)
	server.RegisterService(&serviceDesc, scriptedService{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	unaryClient, streamClient := interceptClient(name)
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}),
		grpc.WithAuthority("localhost"),
		grpc.WithDisableRetry(),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"methodConfig":[{"name":[{}],"maxRequestMessageBytes":%d,"maxResponseMessageBytes":%[1]d}]}`, maxMessage)),
		grpc.WithChainUnaryInterceptor(unaryClient), grpc.WithChainStreamInterceptor(streamClient),
		grpc.WithStatsHandler(observer{}),
	)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return conn
}

// startWire returns the column of a wire over a transport.
func startWire(tb testing.TB, wire, transportName string) column {
	tb.Helper()
	var tr transport.Transport
	for _, t := range transports() { // each column has a value of its own
		if t.Name() == transportName {
			tr = t
		}
	}
	serverUnary, serverStream := interceptServer("plugin")
	backUnary, backStream := interceptServer("host")
	clientUnary, clientStream := interceptClient("plugin")
	backUnaryClient, backStreamClient := interceptClient("host")
	p := plugintest.StartWith(tb, protocol.Bind(calls, scriptedService{}), tr,
		[]plugin.Option{
			plugin.WithLogger(quiet), plugin.WithMaxMessageSize(maxMessage),
			plugin.WithInterceptors(serverUnary, serverStream), plugin.WithHostInterceptors(backUnaryClient, backStreamClient),
			plugin.WithStatsHandler(observer{}, observer{}),
		},
		host.WithWire(wire), host.WithLogger(quiet), host.WithMaxMessageSize(maxMessage),
		host.WithInterceptors(clientUnary, clientStream), host.WithServiceInterceptors(backUnary, backStream),
		host.WithStatsHandler(observer{}, observer{}),
		host.WithServices(protocol.Bind(calls, scriptedService{})),
	)
	if got := p.Info().Wire; got != wire {
		tb.Fatalf("the wire is %q, want %q", got, wire)
	}
	return column{name: wire + " over " + tr.Name(), conn: p, back: plugin.Host}
}

// transports returns a new value of each transport that works in one process. The plugin on
// socketpair inherits a socket: package e2e runs gRPC's own cases over it.
func transports() []transport.Transport {
	return []transport.Transport{unix.New(), tcp.New(), quic.New()}
}

// startAll returns all columns. The first is the one that the others are compared with.
func startAll(tb testing.TB) []column {
	tb.Helper()
	first := transports()[0].Name()
	columns := []column{startWire(tb, reference, first), startPlain(tb)}
	for _, tr := range transports() {
		for _, wire := range rpc.Names() {
			if wire != reference || tr.Name() != first {
				columns = append(columns, startWire(tb, wire, tr.Name()))
			}
		}
	}
	return columns
}

// reference is the wire of the column that all others are compared with.
const reference = handshake.WireH2
