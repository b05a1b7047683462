package meter

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Each duration is in a bucket that ends above it, and is at most an eighth wider.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for d := time.Duration(1); d < 1<<lastOctave; d += 1 + d/50 {
		i := bucketOf(d)
		above := upperBound(i)
		if d >= above || i > 0 && d < upperBound(i-1) {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, i, above)
		}
		if d >= 1<<firstOctave && above-d > d/perOctave {
			t.Errorf("%v is in a bucket that ends at %v", d, above)
		}
	}
	for i := 1; i < numBuckets; i++ {
		if bucketOf(upperBound(i-1)) != i || bucketOf(upperBound(i)-1) != i {
			t.Errorf("bucket %d has other durations than %v to %v", i, upperBound(i-1), upperBound(i))
		}
	}
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, 1 << (lastOctave + 1): numBuckets - 1, math.MaxInt64: numBuckets - 1} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	var m Meter
	const callers, calls = 8, 1000
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for range calls {
				m.End(m.Begin(), nil)
			}
		})
	}
	calling.Wait()
	m.Begin()
	m.End(m.Begin(), status.Error(codes.Unavailable, "gone"))
	m.End(m.Begin(), errors.New("not a status"))
	m.End(m.Begin(), status.Error(99, "not a code of gRPC"))
	got := m.Counts()
	if got.Begun != callers*calls+4 || got.Ended != callers*calls+3 {
		t.Errorf("%d begun and %d ended", got.Begun, got.Ended)
	}
	if len(got.Errors) != 3 || got.Errors["Unavailable"] != 1 || got.Errors["Unknown"] != 1 || got.Errors["other"] != 1 {
		t.Errorf("errors %v", got.Errors)
	}
	var sum uint64
	for _, b := range got.Durations {
		sum += b.Calls
	}
	if sum != got.Ended {
		t.Errorf("%d calls in the buckets, and %d have ended", sum, got.Ended)
	}
}

func TestNil(t *testing.T) {
	t.Parallel()
	var m *Meter
	m.End(m.Begin(), nil)
}

func TestAllocations(t *testing.T) {
	var m Meter
	if n := testing.AllocsPerRun(1000, func() { m.End(m.Begin(), nil) }); n > 0 {
		t.Errorf("counting a call takes %v allocations", n)
	}
}

func BenchmarkMeter(b *testing.B) {
	var m Meter
	b.ReportAllocs()
	for b.Loop() {
		m.End(m.Begin(), nil)
	}
}
