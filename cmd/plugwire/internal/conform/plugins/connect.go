package plugins

import (
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// curve256 is the curve that every TLS stack takes.
var curve256 = elliptic.P256()

// The purposes of a stream.
const (
	purposeCalls = 1
)

// dial connects to the plugin, without a byte.
func (p *answeredPlugin) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, p.network, p.address)
	if err != nil {
		return nil, conform.Fail("the plugin accepts connections at "+p.network+" "+p.address, err.Error(), "listen before you print the answer, and accept connections until the end")
	}
	p.c.Own(conn)
	return conn, conn.SetDeadline(time.Now().Add(p.suite.callTimeout))
}

// preamble returns the preamble of a stream, or nothing for a foreign plugin. Each stream
// is a session of its own, as those of hosts that attach.
func (p *answeredPlugin) preamble(purpose byte) []byte {
	if p.foreign() {
		return nil
	}
	identity := rand.Text()
	if p.extended["preamble"] < "2" {
		return makePreamble(1, purpose, "", "")
	}
	return makePreamble(2, purpose, "", identity)
}

// preambleMagic begins every preamble.
const preambleMagic = "\x00PLUGWIRE\n"

func makePreamble(version, purpose byte, name, identity string) []byte {
	b := append([]byte(preambleMagic), version, purpose)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, byte(len(identity)), 0)
	b = append(b, name...)
	return append(b, identity...)
}

// open opens a stream for calls: with preamble and TLS as the answer has it.
func (p *answeredPlugin) open(ctx context.Context) (net.Conn, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return p.secure(ctx, conn, p.offer.hostCert, p.alpn())
}

// alpn returns the name of the wire in TLS.
func (p *answeredPlugin) alpn() string {
	if wire := p.extended["wire"]; wire != "" {
		return wire
	}
	return "h2"
}

// secure sends the preamble, and makes TLS.
func (p *answeredPlugin) secure(ctx context.Context, conn net.Conn, own *identity, alpn ...string) (net.Conn, error) {
	if preamble := p.preamble(purposeCalls); len(preamble) > 0 {
		if _, err := conn.Write(preamble); err != nil {
			return nil, conform.Fail("the plugin reads the preamble", err.Error(), "read it before anything else")
		}
	}
	if p.cert == nil {
		return conn, nil
	}
	c := tls.Client(conn, config(own, p.cert, alpn...))
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, conform.Fail("TLS with the certificates of offer and answer", err.Error(), "serve with the certificate of the answer, and take the host's from PLUGIN_CLIENT_CERT as the only root")
	}
	return c, nil
}

// client returns a client on a connection of its own.
func (p *answeredPlugin) client() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer makes TLS
		grpc.WithAuthority("localhost"),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := p.open(ctx)
			if err != nil {
				return nil, err
			}
			return conn, conn.SetDeadline(time.Time{})
		}),
	)
	if err == nil {
		p.c.Own(conn)
	}
	return conn, err
}

// ask asks for the health of a service on a connection.
func (s *suite) ask(ctx context.Context, conn *grpc.ClientConn, service string) error {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	if err == nil && answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("status %v", answer.GetStatus())
	}
	return err
}

// serves checks that the plugin is healthy, on a new connection.
func (p *answeredPlugin) serves(ctx context.Context, after string) error {
	conn, err := p.client()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing waits to be sent
	if err := p.suite.ask(ctx, conn, "plugin"); err != nil {
		seen := err.Error()
		select {
		case <-p.Exited():
			seen = "the process has ended: " + exitOf(ctx, p.Process)
		default:
		}
		return conform.Fail("the plugin serves "+after, seen, "bound what one peer can do: it must not end or hold up the plugin for others")
	}
	return nil
}

// unary makes a call with messages that are already encoded.
func (s *suite) unary(ctx context.Context, conn *grpc.ClientConn, method string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	defer cancel()
	var answer []byte
	err := conn.Invoke(ctx, method, &request, &answer, grpc.ForceCodec(bytesCodec{}))
	return answer, err
}

// bytesCodec passes messages on as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// isCode reports whether a call has ended with a code.
func isCode(err error, code codes.Code) bool { return status.Code(err) == code }
