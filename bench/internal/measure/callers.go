package measure

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// repeat calls f for d, and at least once. It returns the time of each call.
func repeat(d time.Duration, f func() error) ([]time.Duration, error) {
	var times []time.Duration
	start := time.Now()
	for begin := start; ; {
		if err := f(); err != nil {
			return nil, err
		}
		end := time.Now()
		times = append(times, end.Sub(begin))
		if end.Sub(start) >= d {
			return times, nil
		}
		begin = end
	}
}

// parallel lets n callers call f for d, each at least once. It returns how many calls
// they have made, and how long that took.
func parallel(n int, d time.Duration, f func() error) (calls int, took time.Duration, err error) {
	var total atomic.Int64
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	var ended atomic.Bool
	timer := time.AfterFunc(d, func() { ended.Store(true) })
	defer timer.Stop()
	for i := range n {
		wg.Go(func() {
			made := int64(0)
			for {
				if errs[i] = f(); errs[i] != nil {
					return
				}
				made++
				if ended.Load() {
					total.Add(made)
					return
				}
			}
		})
	}
	wg.Wait()
	return int(total.Load()), time.Since(start), errors.Join(errs...)
}

// timed is parallel for which the time of each call is kept.
func timed(n int, d time.Duration, f func() error) (times []time.Duration, took time.Duration, err error) {
	each := make([][]time.Duration, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() { each[i], errs[i] = repeat(d, f) })
	}
	wg.Wait()
	return slices.Concat(each...), time.Since(start), errors.Join(errs...)
}

// background calls f again and again from n callers, until stop is called, and each at
// least once.
func background(n int, f func() error) (stop func() error) {
	var ended atomic.Bool
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for {
				if errs[i] = f(); errs[i] != nil || ended.Load() {
					return
				}
			}
		})
	}
	return func() error {
		ended.Store(true)
		wg.Wait()
		return errors.Join(errs...)
	}
}

// percentile sorts the times, and returns the smallest that is at least as long as a share p
// of them.
func percentile(times []time.Duration, p float64) time.Duration {
	slices.Sort(times)
	return times[int(p*float64(len(times)-1))]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
