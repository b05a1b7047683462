package pw

import (
	"context"
	"strconv"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// TestAllocations counts the allocations of a unary call, on both sides together and on the
// host's alone: a peer by hand then gives the answers, without an allocation.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	count := func(c grpc.ClientConnInterface) float64 {
		ctx, req, resp := context.Background(), &testpb.Empty{}, &testpb.Empty{}
		call := func() {
			if err := c.Invoke(ctx, "/grpc.testing.TestService/EmptyCall", req, resp); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 * quickRuns {
			call()
		}
		return testing.AllocsPerRun(2000, call)
	}
	p := connect(t, &service{}, &service{})
	if n := count(p.host); n > 3 {
		t.Errorf("a call takes %v allocations on both sides, want at most 3", n)
	} else {
		t.Logf("both sides: %v", n)
	}
	by := against(t, "host", &service{})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		in, out := make([]byte, 1<<16), make([]byte, 0, headerLen+1)
		for {
			if _, err := by.conn.Read(in); err != nil { // one call at a time, so one frame
				return
			}
			_, id, _ := parseHeader(in)
			out = append(out[:0], make([]byte, headerLen)...)
			putHeader(out, frameEnd, id, 1)
			out = append(out, endMessage)
			if _, err := by.conn.Write(out); err != nil {
				return
			}
		}
	}()
	if n := count(by.real); n > 1 {
		t.Errorf("a call takes %v allocations of the caller, want at most 1", n)
	} else {
		t.Logf("the caller: %v", n)
	}
	_ = by.conn.Close()
	<-answered
}

// TestAllocationsWithMetadata counts the allocations of a unary call with a deadline and two
// pairs of metadata each way, on both sides together. The caller and the handler make 21 of
// them, with context, metadata, and generated code.
func TestAllocationsWithMetadata(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := connect(t, &service{empty: func(ctx context.Context) error {
		trace, tenant := metadata.ValueFromIncomingContext(ctx, "trace-id"), metadata.ValueFromIncomingContext(ctx, "tenant")
		return grpc.SetHeader(ctx, metadata.Pairs("trace-id", trace[0], "tenant", tenant[0]))
	}}, &service{})
	req := &testpb.Empty{}
	call := func(trace string) {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		var header metadata.MD
		_, err := p.toPlugin.EmptyCall(metadata.AppendToOutgoingContext(ctx, "trace-id", trace, "tenant", "a"), req, grpc.Header(&header))
		if err != nil {
			t.Fatal(err)
		}
		if got := header.Get("trace-id"); len(got) != 1 || got[0] != trace {
			t.Fatalf("call %s got the answer of call %v", trace, got)
		}
	}
	for range 3 * quickRuns {
		call("0")
	}
	if n := testing.AllocsPerRun(2000, func() { call("0") }); n > 24 {
		t.Errorf("a call with the metadata of the call before takes %v allocations, want at most 24", n)
	} else {
		t.Logf("the metadata of the call before: %v", n)
	}
	traces := make([]string, 0, 2001)
	for i := range cap(traces) {
		traces = append(traces, strconv.Itoa(100_000+i))
	}
	if n := testing.AllocsPerRun(2000, func() { call(traces[0]); traces = traces[1:] }); n > 29 {
		t.Errorf("a call with metadata of its own takes %v allocations, want at most 29", n)
	} else {
		t.Logf("metadata of its own: %v", n)
	}
}
