package hostcli

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	// defaultCount is how many calls ping makes: enough for a steady median, in
	// well under a second.
	defaultCount = 500
	// maxCount bounds the memory, because the time of every call is kept.
	maxCount = 1_000_000
)

// A Latency has the times of calls.
type Latency struct {
	Type     string  `json:"type"` // "latency"
	Calls    int     `json:"calls"`
	MinUS    float64 `json:"min_us"` // microseconds
	MedianUS float64 `json:"median_us"`
	P99US    float64 `json:"p99_us"` // 99 in 100 calls took at most this time
	MaxUS    float64 `json:"max_us"`
}

// ping returns the command that measures calls. It calls grpc.health.v1, which
// every plugin answers like any other call.
func ping(program string) *Command {
	count := defaultCount
	return &Command{
		Name:    "ping",
		Summary: "make small calls and print how long they took",
		Help: fmt.Sprintf(`Makes small unary calls, one after the other, and prints how long they took, in
microseconds, and how the plugin is connected. To compare transports:

  %[1]s -transports unix ping
  %[1]s -transports tcp ping
`, program),
		Flags: func(flags *flag.FlagSet) {
			flags.Func("count", fmt.Sprintf("`number` of calls (default %d)", defaultCount), func(s string) (err error) {
				count, err = strconv.Atoi(s)
				if err != nil || count < 1 || count > maxCount {
					return fmt.Errorf("want a number from 1 to %d", maxCount)
				}
				return nil
			})
		},
		Run: func(ctx context.Context, s *Session) error {
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			times := make([]time.Duration, count)
			for i := range times {
				begin := time.Now()
				if err := p.Ping(ctx); err != nil {
					return err
				}
				times[i] = time.Since(begin)
			}
			l := summarize(times)
			return s.Print(fmt.Sprintf("%d calls: median %.1f us, 99 in 100 within %.1f us, from %.1f to %.1f us\n%s",
				l.Calls, l.MedianUS, l.P99US, l.MinUS, l.MaxUS, s.Connection()), l)
		},
	}
}

// summarize describes times, which it sorts.
func summarize(times []time.Duration) Latency {
	slices.Sort(times)
	within := func(percent int) float64 {
		return float64(times[(len(times)-1)*percent/100]) / float64(time.Microsecond)
	}
	return Latency{
		Type:     "latency",
		Calls:    len(times),
		MinUS:    within(0),
		MedianUS: within(50),
		P99US:    within(99),
		MaxUS:    within(100),
	}
}
