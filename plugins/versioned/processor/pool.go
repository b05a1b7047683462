package processor

import (
	"context"
	"sync"
	"sync/atomic"
)

// A pool bounds how many calls all its users make at a time: as many as the
// channel has room for.
type pool chan struct{}

func newPool(size int) pool { return make(pool, size) }

// each calls do with 0 to n-1, several at a time, and returns when all calls have
// returned. When ctx is done it begins no further call and returns the context's
// error, even if no call was left. If a call panics, each panics: outside of the
// handler's own goroutine a panic would end the plugin and all other calls.
func (p pool) each(ctx context.Context, n int, do func(i int)) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	panics := make(chan any, cap(p)) // a worker ends with its first panic
	for range min(n, cap(p)) {
		workers.Go(func() {
			defer func() {
				if reason := recover(); reason != nil {
					panics <- reason
				}
			}()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if !p.enter(ctx) {
					return
				}
				p.call(do, int(i))
			}
		})
	}
	workers.Wait()
	select {
	case reason := <-panics:
		panic(reason) //nolint:forbidigo // not a new one: it is passed on
	default:
		return ctx.Err()
	}
}

// call calls do, and then makes room in the pool.
func (p pool) call(do func(i int), i int) {
	defer func() { <-p }()
	do(i)
}

// enter waits for room in the pool. It returns false when ctx is done.
func (p pool) enter(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case p <- struct{}{}:
	}
	if ctx.Err() != nil { // select may choose either if both are ready
		<-p
		return false
	}
	return true
}
