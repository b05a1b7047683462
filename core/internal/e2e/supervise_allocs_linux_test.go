package e2e_test

import (
	"math"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestSupervisedCallAllocations checks that a call through a handle allocates no more than
// one of the plugin itself. It counts for the whole process, so it does not run beside
// other tests, and the lowest of several counts is the one without the work of others.
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
		return testing.AllocsPerRun(100, func() {
			if _, err := client.Unary(ctx, request); err != nil {
				t.Fatal(err)
			}
		})
	}
	direct, supervised := math.Inf(1), math.Inf(1)
	for range 10 {
		direct, supervised = min(direct, count(p)), min(supervised, count(h))
	}
	t.Logf("%v allocations, %v without the handle", supervised, direct)
	if supervised > direct {
		t.Errorf("%v allocations, and %v without the handle", supervised, direct)
	}
}
