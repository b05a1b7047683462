package processor

import (
	"context"
	"sync"
	"sync/atomic"
)

// A pool bounds how much is done at a time by all who use it: as much as the
// channel has room for.
type pool chan struct{}

func newPool(size int) pool { return make(pool, size) }

// each calls do with 0 to n-1, several at a time, and returns when all calls
// have returned. When ctx is done it begins no further call and returns the
// context's error, also if none was left. do must not panic: outside of the
// handler's own goroutine nothing would keep that from ending the plugin.
func (p pool) each(ctx context.Context, n int, do func(i int)) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, cap(p)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if !p.enter(ctx) {
					return
				}
				do(int(i))
				<-p
			}
		})
	}
	workers.Wait()
	return ctx.Err()
}

// enter waits for room in the pool. It returns false when ctx is done.
func (p pool) enter(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case p <- struct{}{}:
	}
	if ctx.Err() != nil { // both were ready
		<-p
		return false
	}
	return true
}
