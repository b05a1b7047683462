package pw

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// A goroutine may keep the context of a handler that has returned. The memory of the call
// serves other calls by then, and the context must not lead to them.
func TestContextOutlivesHandler(t *testing.T) {
	t.Parallel()
	const late = "late"
	var outliving sync.WaitGroup
	svc := &service{unary: func(ctx context.Context, _ *request) (*response, error) {
		call := metadata.ValueFromIncomingContext(ctx, "call")
		outliving.Go(func() {
			<-ctx.Done()
			for range 50 {
				if grpc.SetHeader(ctx, metadata.Pairs(late, "1")) == nil {
					t.Error("SetHeader after the end of the call: no error")
				}
				if grpc.SendHeader(ctx, metadata.Pairs(late, "1")) == nil {
					t.Error("SendHeader after the end of the call: no error")
				}
				if grpc.SetTrailer(ctx, metadata.Pairs(late, "1")) == nil {
					t.Error("SetTrailer after the end of the call: no error")
				}
				if method, ok := grpc.Method(ctx); method != unaryName || !ok {
					t.Errorf("the method is %q after the end of the call", method)
				}
				if got := metadata.ValueFromIncomingContext(ctx, "call"); len(got) != 1 || got[0] != call[0] {
					t.Errorf("the metadata is %v after the end of call %v", got, call)
				}
			}
		})
		return &response{}, grpc.SetHeader(ctx, metadata.Pairs("call", call[0]))
	}}
	p := connect(t, svc, &service{})
	ctx := bounded(t)
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for i := range 100 {
				call := strconv.Itoa(caller*100 + i)
				var header, trailer metadata.MD
				_, err := p.toPlugin.UnaryCall(metadata.AppendToOutgoingContext(ctx, "call", call), &request{}, grpc.Header(&header), grpc.Trailer(&trailer))
				if err != nil {
					t.Error(err)
					return
				}
				if got := header.Get("call"); len(got) != 1 || got[0] != call {
					t.Errorf("call %s got the answer of call %v", call, got)
				}
				if len(header.Get(late))+len(trailer.Get(late)) > 0 {
					t.Errorf("call %s got the metadata of a call before it: %v %v", call, header, trailer)
				}
			}
		})
	}
	callers.Wait()
	outliving.Wait()
}
