//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// brokering is the echo service of a plugin that uses the broker.
type brokering struct {
	echo.Handler
	served *sync.WaitGroup
}

// Fail has more ways than the handler of package echo.
func (h brokering) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	how, id, _ := strings.Cut(req.GetHow(), ":")
	switch how {
	case "dial": // calls the host's service under the id
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, err
		}
		return dialBrokered(ctx, plugin.Broker(ctx), uint32(n))
	case "serve": // serves under the returned id, until the plugin ends
		b := plugin.Broker(ctx)
		id := b.NextID()
		ctx := context.WithoutCancel(ctx)
		failed := make(chan error, 1)
		h.served.Go(func() { failed <- b.Serve(ctx, id, echopb.ServeEcho(echo.Handler{})) })
		return payload(strconv.FormatUint(uint64(id), 10)), nil
	default:
		return h.Handler.Fail(ctx, req)
	}
}

// dialBrokered calls the other side's service under an id.
func dialBrokered(ctx context.Context, b broker.Broker, id uint32) (*echopb.Payload, error) {
	conn, err := b.Dial(ctx, id)
	if err != nil {
		return nil, err
	}
	resp, err := echopb.NewEchoClient(conn).Unary(ctx, payload("by the broker"))
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	return resp, err
}

// pluginDials asks the plugin to call the host's service, and returns the error of the
// call.
func pluginDials(t *testing.T, p *host.Plugin) error {
	t.Helper()
	ctx, stop := context.WithCancel(testContext(t))
	served := make(chan error, 1)
	id := p.Broker().NextID()
	go func() { served <- p.Broker().Serve(ctx, id, echopb.ServeEcho(echo.Handler{})) }()
	type result struct {
		resp *echopb.Payload
		err  error
	}
	called := make(chan result, 1)
	go func() {
		resp, err := echopb.NewEchoClient(p).Fail(ctx, fail(fmt.Sprintf("dial:%d", id)))
		called <- result{resp, err}
	}()
	select {
	case err := <-served: // the plugin has no service to dial
		stop()
		<-called
		if err == nil {
			t.Error("Serve ended without a reason")
		}
		return err
	case r := <-called:
		stop()
		if err := waitFor(t, "the end of Serve", served); err != nil {
			t.Error(err)
		}
		if got := string(r.resp.GetData()); r.err == nil && got != "by the broker" {
			t.Errorf("the plugin got %q", got)
		}
		return r.err
	}
}

// hostDials calls the plugin's service, and returns the error of the call.
func hostDials(t *testing.T, p *host.Plugin) error {
	t.Helper()
	ctx := testContext(t)
	id, err := echopb.NewEchoClient(p).Fail(ctx, fail("serve"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := dialBrokered(ctx, p.Broker(), uint32(atoi(t, string(id.GetData()))))
	if got := string(resp.GetData()); err == nil && got != "by the broker" {
		t.Errorf("the host got %q", got)
	}
	return err
}

// TestBrokerNetworks runs hosts and plugins with all kinds of transports. Whatever
// transport the calls use, brokered connections use a network that both sides have.
func TestBrokerNetworks(t *testing.T) {
	t.Parallel()
	set := func(list ...transport.Transport) []transport.Transport { return list }
	for _, tt := range []struct {
		name         string
		host, plugin []transport.Transport
		over         string
	}{
		{"a host with tcp", set(tcp.New()), set(unix.New(), tcp.New()), "tcp"},
		{"a plugin with tcp", set(unix.New(), tcp.New()), set(tcp.New()), "tcp"},
		{"a host with unix", set(unix.New()), set(tcp.New(), unix.New()), "unix"},
		{"a host that prefers tcp", set(tcp.New(), unix.New()), set(unix.New(), tcp.New()), "tcp"},
		{"quic, a host with tcp", set(quic.New(), tcp.New()), set(unix.New(), tcp.New(), quic.New()), "quic"},
		{"quic, a host with unix", set(quic.New(), unix.New()), set(unix.New(), tcp.New(), quic.New()), "quic"},
		{"quic, a plugin with tcp", set(quic.New(), unix.New(), tcp.New()), set(tcp.New(), quic.New()), "quic"},
		{"quic, a plugin with unix", set(quic.New(), tcp.New(), unix.New()), set(unix.New(), quic.New()), "quic"},
		{"quic, both with all", set(quic.New(), tcp.New(), unix.New()), set(quic.New(), unix.New(), tcp.New()), "quic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var served sync.WaitGroup
			t.Cleanup(served.Wait)
			p := plugintest.StartWith(t, echopb.ServeEcho(brokering{served: &served}), unix.New(),
				[]plugin.Option{plugin.WithTransports(tt.plugin...)}, host.WithTransports(tt.host...))
			if over := p.Info().Transport.Name; over != tt.over {
				t.Errorf("calls travel over %s, want %s", over, tt.over)
			}
			if err := pluginDials(t, p); err != nil {
				t.Errorf("the plugin dials: %v", err)
			}
			if err := hostDials(t, p); err != nil {
				t.Errorf("the host dials: %v", err)
			}
		})
	}
}

// TestBrokerOfAnotherUser checks that a plugin of another user can call a host that
// runs as root, whatever transport their calls use.
func TestBrokerOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may start a process as another user")
	}
	const nobody = 65534
	for name, opts := range map[string][]host.Option{
		"peer credentials": nil, "mutual TLS": {host.WithMutualTLS()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := command("misbehave")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			p := launch(t, cmd, opts...)
			for range 3 {
				if err := pluginDials(t, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestBrokerWithoutNetwork runs two sides without a common network for the broker: the
// error of the serving side says so, and what to do.
func TestBrokerWithoutNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		host, plugin []transport.Transport
	}{
		{"neither has one", []transport.Transport{quic.New()}, []transport.Transport{quic.New()}},
		{"the host has none", []transport.Transport{quic.New()}, []transport.Transport{quic.New(), unix.New()}},
		{"the plugin has none", []transport.Transport{quic.New(), tcp.New()}, []transport.Transport{quic.New()}},
		{"each has another", []transport.Transport{quic.New(), tcp.New()}, []transport.Transport{quic.New(), unix.New()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var served sync.WaitGroup
			t.Cleanup(served.Wait)
			p := plugintest.StartWith(t, echopb.ServeEcho(brokering{served: &served}), unix.New(),
				[]plugin.Option{plugin.WithTransports(tt.plugin...)}, host.WithTransports(tt.host...))
			err := pluginDials(t, p)
			if err == nil || status.Code(err) != codes.Unknown {
				t.Fatalf("the host serves: %v", err)
			}
			assertSays(t, err.Error(), "transport unix or tcp", "host.WithTransports", "plugin.WithTransports")
		})
	}
}
