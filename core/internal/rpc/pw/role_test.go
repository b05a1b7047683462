package pw

import (
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// TestOwnCallsOfTheOtherSide checks that the background reads as soon as a call of this side
// has ended, if the other side has begun one by itself lately. A role that was nobody's
// delayed the next such call by up to two ticks. If no more come, callers read again.
func TestOwnCallsOfTheOtherSide(t *testing.T) {
	t.Parallel()
	p := against(t, "host", &service{})
	client := testpb.NewTestServiceClient(p.real)
	call := func() (reading bool) {
		ended := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(bounded(t), &request{})
			ended <- err
		}()
		f, ok := p.next()
		if !ok || f.kind != frameOpen {
			t.Fatal(f, ok)
		}
		p.send(frameEnd, f.id, endMessage)
		if err := receive(t, "the call", ended); err != nil {
			t.Fatal(err)
		}
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return p.real.reading
	}
	free := func() {
		t.Helper()
		eventually(t, "the caller gives the role away", func() bool { return !call() })
	}
	free() // the other side has begun no call

	p.open(2, unaryName, openMessage)
	if f, ok := p.next(); !ok || f.kind != frameEnd {
		t.Fatal(f, ok)
	}
	eventually(t, "the end of the call", func() bool {
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return len(p.real.served) == 0
	})
	for range expectCalls / 4 {
		if !call() {
			t.Error("nobody reads")
		}
	}
	free()
}
