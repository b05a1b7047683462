// Package meter counts calls, and how long they take. Counting costs a call two atomic
// additions and no allocation.
package meter

import (
	"math/bits"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Meter counts the calls of one plugin. A nil Meter counts nothing. The methods are safe
// for concurrent use.
type Meter struct {
	begun     atomic.Uint64
	errors    [numCodes + 1]atomic.Uint64 // by code; the last one is for codes that gRPC does not have
	durations [numBuckets]atomic.Uint64
}

// numCodes is how many codes gRPC has.
const numCodes = int(codes.Unauthenticated) + 1

// The buckets of durations. Each power of two has perOctave buckets, so that the width of
// a bucket is at most an eighth of its value. The first bucket has what is shorter than
// 1 µs, and the last one what is longer than half an hour.
const (
	octaveBits  = 3
	perOctave   = 1 << octaveBits
	firstOctave = 10 // 1.024 µs
	lastOctave  = 40 // 18 to 37 minutes
	numBuckets  = 1 + (lastOctave-firstOctave+1)*perOctave
)

// Begin counts a call that begins. It returns when that is, for [Meter.End].
func (m *Meter) Begin() time.Time {
	if m == nil {
		return time.Time{}
	}
	m.begun.Add(1)
	return time.Now()
}

// End counts a call that has ended. Call it once for each Begin.
func (m *Meter) End(began time.Time, err error) {
	if m == nil {
		return
	}
	m.durations[bucketOf(time.Since(began))].Add(1)
	if err != nil {
		m.errors[min(int(status.Code(err)), numCodes)].Add(1)
	}
}

// bucketOf returns the number of the bucket that a duration belongs to.
func bucketOf(d time.Duration) int {
	if d < 1<<firstOctave {
		return 0
	}
	octave := bits.Len64(uint64(d)) - 1
	if octave > lastOctave {
		return numBuckets - 1
	}
	within := int(d>>(octave-octaveBits)) - perOctave
	return 1 + (octave-firstOctave)*perOctave + within
}

// upperBound returns the duration below which all durations of a bucket are. The last
// bucket also has all that are longer.
func upperBound(bucket int) time.Duration {
	if bucket == 0 {
		return 1 << firstOctave
	}
	octave := firstOctave + (bucket-1)/perOctave
	within := (bucket - 1) % perOctave
	return time.Duration(perOctave+within+1) << (octave - octaveBits)
}

// Counts are what a [Meter] has counted. The counts of calls that begin and end meanwhile
// may be in some of the fields only.
type Counts struct {
	Begun, Ended uint64
	// Errors are the calls that have ended with an error, by the name of its code.
	Errors map[string]uint64
	// Durations are the buckets that have calls, the shortest first.
	Durations []Bucket
}

// Bucket counts calls that took about the same time.
type Bucket struct {
	Below time.Duration // the calls took less
	Calls uint64
}

// Counts returns what the Meter has counted. Ended is never more than Begun.
func (m *Meter) Counts() Counts {
	var c Counts
	for i := range m.durations {
		if n := m.durations[i].Load(); n > 0 {
			c.Ended += n
			c.Durations = append(c.Durations, Bucket{upperBound(i), n})
		}
	}
	for i := range m.errors {
		if n := m.errors[i].Load(); n > 0 {
			if c.Errors == nil {
				c.Errors = make(map[string]uint64)
			}
			c.Errors[codeName(i)] = n
		}
	}
	c.Begun = m.begun.Load()
	return c
}

// codeName returns the name of a code, as grpc prints it.
func codeName(i int) string {
	if i == numCodes {
		return "other"
	}
	return codes.Code(i).String() //nolint:gosec // one of the codes
}
