package main

import (
	"context"
	"slices"
	"time"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

const (
	// defaultCount is how many calls ping makes: enough for a steady median, in
	// well under a second.
	defaultCount = 500
	// maxCount bounds the memory, as the time of every call is kept.
	maxCount = 1_000_000
)

// ping runs the ping command: count calls, one after the other.
func ping(ctx context.Context, client example.DataProcessorClient, count int, out *output) error {
	times := make([]time.Duration, count)
	for i := range times {
		begin := time.Now()
		if _, err := client.GetStatus(ctx, &example.StatusRequest{}); err != nil {
			return err
		}
		times[i] = time.Since(begin)
	}
	return out.latency(summarize(times))
}

// summarize describes times, which it sorts.
func summarize(times []time.Duration) latency {
	slices.Sort(times)
	within := func(percent int) float64 {
		return float64(times[(len(times)-1)*percent/100]) / float64(time.Microsecond)
	}
	return latency{
		Type:     "latency",
		Calls:    len(times),
		MinUS:    within(0),
		MedianUS: within(50),
		P99US:    within(99),
		MaxUS:    within(100),
	}
}
