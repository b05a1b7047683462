package plugintest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
)

// ledger records which calls its handler has seen.
type ledger struct {
	testpb.UnimplementedTestServiceServer
	seen sync.Map // of the texts of calls
}

func (l *ledger) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	l.seen.Store(string(req.GetPayload().GetBody()), nil)
	return &testpb.SimpleResponse{}, nil
}

// A plugin that stops while many call refuses calls, and cuts none off. No handler has
// seen a call whose error says that it has not begun.
func TestNotBegunWhenStopping(t *testing.T) {
	t.Parallel()
	const callers = 32
	l := new(ledger)
	p := plugintest.Start(t, protocol.Bind(testProtocol, l), loop{})
	client := testpb.NewTestServiceClient(p)
	var calling sync.WaitGroup
	begun := make(chan struct{}, callers)
	var refused, unsent record
	for caller := range callers {
		calling.Go(func() {
			for n := 0; ; n++ {
				ended := isDone(p)
				id := fmt.Sprintf("%d of caller %d", n, caller)
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte(id)}})
				if n == 0 {
					begun <- struct{}{}
				}
				switch {
				case err == nil:
				case !host.NotBegun(err):
					t.Errorf("call %s: %v", id, err)
				case ended:
					unsent.add(id)
				default:
					refused.add(id)
				}
				if ended {
					return
				}
			}
		})
	}
	for range callers {
		<-begun
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	calling.Wait()
	for _, r := range []*record{&refused, &unsent} {
		for _, id := range r.sorted() {
			if _, ok := l.seen.Load(id); ok {
				t.Errorf("the handler has seen call %s, whose error says that it has not begun", id)
			}
		}
	}
	if n := len(unsent.sorted()); n != callers {
		t.Errorf("%d calls after the end have not begun, want %d", n, callers)
	}
}

func isDone(p *host.Plugin) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// holdingHost lets one call wait until a second one is refused.
type holdingHost struct {
	testpb.UnimplementedTestServiceServer
	holding, release chan struct{}
}

func (h *holdingHost) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	close(h.holding)
	<-h.release
	return &testpb.Empty{}, nil
}

// callingTwice calls its host while a first call to it is in flight.
type callingTwice struct {
	testpb.UnimplementedTestServiceServer
	host *holdingHost
}

func (c *callingTwice) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	client := testpb.NewTestServiceClient(plugin.Host(ctx))
	first := make(chan error, 1)
	go func() {
		_, err := client.EmptyCall(ctx, &testpb.Empty{})
		first <- err
	}()
	<-c.host.holding
	_, err := client.UnaryCall(ctx, req)
	close(c.host.release)
	if firstErr := <-first; firstErr != nil {
		return nil, firstErr
	}
	if !plugin.NotBegun(err) {
		return nil, status.Errorf(codes.Internal, "the second call: %v", err)
	}
	return nil, err
}

// A handler has begun, also if it returns the error of a call that has not.
func TestNotBegunIsNotPassedOn(t *testing.T) {
	t.Parallel()
	service := &holdingHost{holding: make(chan struct{}), release: make(chan struct{})}
	p := plugintest.Start(t, protocol.Bind(testProtocol, &callingTwice{host: service}), loop{},
		host.WithServices(protocol.Bind(testProtocol, service)), host.WithMaxCalls(1))
	_, err := testpb.NewTestServiceClient(p).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if status.Code(err) != codes.ResourceExhausted || host.NotBegun(err) {
		t.Errorf("%v, not begun %t", err, host.NotBegun(err))
	}
}

// A call to a host that serves nothing is never sent.
func TestNotBegunWithoutServices(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 1)
	plugintest.StartWith(t, protocol.Bind(testProtocol, handler{}), loop{}, []plugin.Option{plugin.OnReady(func(ctx context.Context) error {
		_, err := testpb.NewTestServiceClient(plugin.Host(ctx)).EmptyCall(ctx, &testpb.Empty{})
		errs <- err
		return nil
	})})
	if err := <-errs; status.Code(err) != codes.Unimplemented || !plugin.NotBegun(err) {
		t.Errorf("%v, not begun %t", err, plugin.NotBegun(err))
	}
}
