package pw

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// headroom is memory that nobody touches, while much comes: large messages, or many on one
// stream. The collector counts it as live, and lets garbage grow by as much before it runs.
// With the least heap of 4 MiB it would run for every third message of 1 MiB, and take half of
// the receiver's time; with messages of 1 KiB, a third of it. The system gives no page to memory
// that nobody touches.
var headroom struct {
	memory atomic.Pointer[[headroomSize]byte]
	used   atomic.Bool  // much has come since the collector ran
	come   atomic.Int64 // bytes of what came since there is no memory
}

const (
	headroomSize = 8 << 20
	// headroomFrom is how many bytes of messages a stream has at once when much comes.
	headroomFrom = 4 << 10
	// headroomAfter is how many such bytes come before there is headroom. A process to which
	// much comes rarely has none, and to make it again and again costs little beside the
	// messages.
	headroomAfter = 4 * headroomSize
)

// keepHeadroom is called when much has come.
func keepHeadroom(size int) {
	if headroom.memory.Load() != nil {
		if !headroom.used.Load() {
			headroom.used.Store(true)
		}
		return
	}
	if headroom.come.Add(int64(size)) < headroomAfter {
		return
	}
	headroom.come.Store(0)
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return // it would count against the limit
	}
	if headroom.memory.CompareAndSwap(nil, new([headroomSize]byte)) {
		headroom.used.Store(true)
		awaitCollection()
	}
}

// awaitCollection calls collected after the collector has run.
func awaitCollection() {
	runtime.AddCleanup(new([64]byte), func(struct{}) { collected() }, struct{}{}) // nothing refers to it
}

// collected drops the memory if not much has come since the collector ran before.
func collected() {
	if headroom.used.Swap(false) {
		awaitCollection()
	} else {
		headroom.memory.Store(nil)
	}
}
