package pw

import (
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// headroom has memory that nobody touches, while large messages come. The collector counts it
// as live, and lets garbage grow by as much before it runs: with the least heap of 4 MiB it
// would run for every third message of 1 MiB, which takes half of the time of the message.
// The system gives no page to memory that nobody touches. The collector drops it when no large
// message comes between two of its runs.
var headroom sync.Pool

// largeBytes counts what large messages have brought since the headroom was made.
var largeBytes atomic.Int64

const (
	headroomSize = 8 << 20
	// headroomAfter is how many bytes of large messages come before there is headroom. A
	// process that gets few large messages has none, and to make it again and again costs
	// little beside the messages.
	headroomAfter = 8 * headroomSize
)

// keepHeadroom is called for each large message that comes.
func keepHeadroom(size int) {
	room := headroom.Get()
	if largeBytes.Add(int64(size)) > headroomAfter && room == nil {
		largeBytes.Store(0)
		if debug.SetMemoryLimit(-1) == math.MaxInt64 { // it would count against a limit
			room = new([headroomSize]byte)
		}
	}
	if room != nil {
		headroom.Put(room)
	}
}
