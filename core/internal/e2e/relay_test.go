package e2e_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
)

// relayedTransport is quic through a relay that loses packets of the host when a test says so.
type relayedTransport struct {
	*quic.Transport
	relay *relay
}

func (r relayedTransport) DialSession(ctx context.Context, cfg transport.DialConfig) (transport.Session, error) {
	address, err := r.relay.start(cfg.Address)
	if err != nil {
		return nil, err
	}
	cfg.Address = address
	return r.Transport.DialSession(ctx, cfg)
}

// relay passes packets on between a host and a plugin.
type relay struct {
	sockets  [2]*net.UDPConn // to the host, and to the plugin
	running  sync.WaitGroup
	loseNext atomic.Int64  // the size from which on the next packet of the host is lost; 0 means none
	lost     chan struct{} // has an item when it is lost
}

func (r *relay) start(plugin string) (address string, err error) {
	to, err := net.ResolveUDPAddr("udp", plugin)
	if err != nil {
		return "", err
	}
	if r.sockets[0], err = net.ListenUDP("udp", &net.UDPAddr{IP: to.IP}); err != nil {
		return "", err
	}
	if r.sockets[1], err = net.DialUDP("udp", nil, to); err != nil {
		return "", err
	}
	var host atomic.Pointer[net.UDPAddr]
	r.running.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := r.sockets[0].ReadFromUDP(b)
			if err != nil {
				return
			}
			host.Store(from)
			if least := r.loseNext.Load(); least > 0 && int64(n) >= least && r.loseNext.CompareAndSwap(least, 0) {
				r.lost <- struct{}{}
				continue
			}
			_, _ = r.sockets[1].Write(b[:n]) // a packet that is lost here is sent again
		}
	})
	r.running.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, err := r.sockets[1].Read(b)
			if err != nil {
				return
			}
			_, _ = r.sockets[0].WriteToUDP(b[:n], host.Load())
		}
	})
	return r.sockets[0].LocalAddr().String(), nil
}

func (r *relay) close() {
	for _, s := range r.sockets {
		if s != nil {
			_ = s.Close()
		}
	}
	r.running.Wait()
}

// loses answers calls, and tells when the handler of a call with a large payload begins.
type loses struct {
	testpb.UnimplementedTestServiceServer
	begun atomic.Int64
}

func (s *loses) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if len(req.GetPayload().GetBody()) > 0 {
		s.begun.Add(1)
	}
	return &testpb.SimpleResponse{}, nil
}

// TestLostPacketDelaysOneCall loses the packet of a call, and then makes another call. The second
// one ends before the first one begins. On one stream that can never happen: its bytes come after
// those that were lost. Now and then the first one is sent again before the second one is made, so
// there are several attempts.
func TestLostPacketDelaysOneCall(t *testing.T) {
	t.Parallel()
	svc := &loses{}
	binding := protocol.Bind(protocol.New("calls", 1, &testpb.TestService_ServiceDesc), svc)
	between := &relay{lost: make(chan struct{}, 1)}
	t.Cleanup(between.close)
	p := plugintest.Start(t, binding, relayedTransport{quic.New(), between}, host.WithWire("pw/1"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := testpb.NewTestServiceClient(p)
	const size = 900 // a packet of other calls, and one of acknowledgments, is smaller
	for overtaken := false; !overtaken; {
		before := svc.begun.Load()
		between.loseNext.Store(size)
		ended := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, size)}})
			ended <- err
		}()
		select {
		case <-between.lost:
		case <-ctx.Done():
			t.Fatal("the packet of the call never came")
		}
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		overtaken = svc.begun.Load() == before
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}
