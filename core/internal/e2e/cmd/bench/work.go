package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// starting starts processes, one after the other, each until its first answer,
// and returns the median of their times. Ending them is not measured.
func starting(s side) sample {
	return func(ctx context.Context, d time.Duration) (time.Duration, error) {
		var times []time.Duration
		for begin := time.Now(); time.Since(begin) < d; {
			took, err := s.start(ctx)
			if err != nil {
				return 0, err
			}
			times = append(times, took)
		}
		return median(times), nil
	}
}

// unary makes calls from many callers.
func unary(size, callers int) func(side) sample {
	return func(s side) sample {
		return func(ctx context.Context, d time.Duration) (time.Duration, error) {
			var done atomic.Int64
			errs := make([]error, callers)
			var wg sync.WaitGroup
			start := time.Now()
			for i := range callers {
				wg.Go(func() {
					payload := &echopb.Payload{Data: make([]byte, size)}
					for time.Since(start) < d && errs[i] == nil {
						_, errs[i] = s.echo.Unary(ctx, payload)
						done.Add(1)
					}
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				return 0, err
			}
			return time.Since(start) / time.Duration(done.Load()), nil
		}
	}
}

// typical makes calls from one caller, and returns the median of their times.
func typical(call func(context.Context, side) error) func(side) sample {
	return func(s side) sample {
		return func(ctx context.Context, d time.Duration) (time.Duration, error) {
			var times []time.Duration
			start := time.Now()
			for begin := start; begin.Sub(start) < d; {
				if err := call(ctx, s); err != nil {
					return 0, err
				}
				end := time.Now()
				times = append(times, end.Sub(begin))
				begin = end
			}
			return median(times), nil
		}
	}
}

func echoOf(size int) func(context.Context, side) error {
	payload := &echopb.Payload{Data: make([]byte, size)}
	return func(ctx context.Context, s side) error {
		_, err := s.echo.Unary(ctx, payload)
		return err
	}
}

// thereAndBack calls the plugin, and the plugin calls the host before it
// answers.
func thereAndBack(ctx context.Context, s side) error {
	_, err := s.duplex.Descend(ctx, &duplexpb.Descent{Depth: 1})
	return err
}

// download receives streams with the given number of messages.
func download(size, count int32) func(side) sample {
	return func(s side) sample {
		return func(ctx context.Context, d time.Duration) (time.Duration, error) {
			messages := 0
			start := time.Now()
			for time.Since(start) < d {
				stream, err := s.echo.Download(ctx, &echopb.DownloadRequest{Count: count, Size: size})
				if err != nil {
					return 0, err
				}
				for {
					_, err := stream.Recv()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						return 0, err
					}
					messages++
				}
			}
			return time.Since(start) / time.Duration(messages), nil
		}
	}
}

const allocsName = "allocations"

// allocCalls is how many calls allocations are averaged over; enough to hide
// those of timers and of the garbage collector.
const allocCalls = 5000

// countAllocs compares the allocations per unary call of both processes.
func countAllocs(ctx context.Context, sides []side, a aim) ([]row, error) {
	here := row{allocsName + " in the host", "1/call", nil, a}
	there := row{allocsName + " in the plugin", "1/call", nil, a}
	for _, s := range sides {
		thereBefore, err := mallocsThere(ctx, s)
		if err != nil {
			return nil, err
		}
		hereBefore := mallocsHere()
		for range allocCalls {
			if _, err := s.echo.Unary(ctx, &echopb.Payload{}); err != nil {
				return nil, err
			}
		}
		here.values = append(here.values, (mallocsHere()-hereBefore)/allocCalls)
		thereAfter, err := mallocsThere(ctx, s)
		if err != nil {
			return nil, err
		}
		there.values = append(there.values, (thereAfter-thereBefore)/allocCalls)
	}
	return []row{here, there}, nil
}

func mallocsHere() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

func mallocsThere(ctx context.Context, s side) (float64, error) {
	resp, err := s.echo.Fail(ctx, &echopb.FailRequest{How: howMallocs})
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(resp.GetData()), 64)
}
