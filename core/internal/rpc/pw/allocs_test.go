package pw

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
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
	if n := count(p.host); n > 12 {
		t.Errorf("a call takes %v allocations on both sides, want at most 12", n)
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
	if n := count(by.real); n > 4 {
		t.Errorf("a call takes %v allocations of the caller, want at most 4", n)
	} else {
		t.Logf("the caller: %v", n)
	}
	_ = by.conn.Close()
	<-answered
}
