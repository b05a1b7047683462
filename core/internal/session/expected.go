package session

import (
	"sync"
	"time"
)

// In go-plugin's multiplexed mode one connection carries everything, and a
// stream does not say what it is for: the first is for calls, and before any
// other its opener has the broker announce it (docs/protocol.md, "The broker").

// expectedFor is how long a stream may take to come after it was announced. Who
// announces one opens it next; a stream that comes later is for something else.
const expectedFor = 10 * time.Second

// maxExpected bounds the streams that were announced and have not come. Their
// openers wait for each other, so there is one.
const maxExpected = 64

// expected are the streams that the other side has announced, in order.
type expected struct {
	mu    sync.Mutex // guards queue
	queue []expectation
}

type expectation struct {
	deliver func(*Stream)
	until   time.Time
}

// add has the next stream that nothing else is waiting for given to deliver. It
// reports false if too many are waited for.
func (e *expected) add(deliver func(*Stream)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	if len(e.queue) == maxExpected {
		return false
	}
	e.queue = append(e.queue, expectation{deliver, time.Now().Add(expectedFor)})
	return true
}

// next returns what the stream that has just come is to be given to; nil if none
// was announced.
func (e *expected) next() (deliver func(*Stream)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire()
	if len(e.queue) > 0 {
		deliver = e.queue[0].deliver
		e.queue = e.queue[1:]
	}
	return deliver
}

func (e *expected) expire() {
	for len(e.queue) > 0 && time.Now().After(e.queue[0].until) {
		e.queue = e.queue[1:]
	}
}
