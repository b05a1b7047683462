package e2e_test

import (
	"math"
	"runtime"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestSupervisedCallAllocations checks that a call through a handle allocates no more than
// one of the plugin itself. The counts are for the whole process, so the test does not run
// beside others. Connections allocate a buffer now and then: the counts are averages, the
// lowest of several, and a difference of less than half an allocation is none.
func TestSupervisedCallAllocations(t *testing.T) {
	h := superviseTest(t, launching(t, echoPlugin()))
	ctx := testContext(t)
	p, err := h.Plugin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	request := &echopb.Payload{Data: []byte("x")}
	count := func(conn grpc.ClientConnInterface) float64 {
		client := echopb.NewEchoClient(conn)
		const calls = 200
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			if _, err := client.Unary(ctx, request); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / calls
	}
	direct, supervised := math.Inf(1), math.Inf(1)
	for range 10 {
		direct, supervised = min(direct, count(p)), min(supervised, count(h))
	}
	t.Logf("%.2f allocations, %.2f without the handle", supervised, direct)
	if supervised-direct >= 0.5 {
		t.Errorf("%.2f allocations, and %.2f without the handle", supervised, direct)
	}
}
