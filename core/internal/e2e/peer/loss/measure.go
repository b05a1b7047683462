//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

type config struct {
	namespace, listen string
	rounds            int
	length            time.Duration
}

// callers is how many calls are under way at any time.
const callers = 64

// work is the work of both transports, with the aim for the second.
type work struct {
	size int // payload in bytes, each way
	// permille selects one of a thousand calls, ordered by their times. Its
	// time must be at most aim times that of the first transport.
	permille int
	aim      float64
}

var works = []work{
	{size: 64, permille: 999, aim: 0.3},
	{size: 4 << 10, permille: 990, aim: 0.6},
}

// permilles are the permilles of a result's latencies; a thousand is the
// slowest.
var permilles = [...]int{500, 990, 999, 1000}

// result has the figures of one run, or the medians of several.
type result struct {
	rate      float64                       // calls a second
	cpu       float64                       // share of the machine's processors, both processes together
	latencies [len(permilles)]time.Duration // in the order of permilles
}

// measure lets both transports work one after the other, in an order that
// changes with each round.
func (w work) measure(ctx context.Context, cfg config) (medians [len(transports)]result, err error) {
	var runs [len(transports)][]result
	for round := range cfg.rounds {
		for i := range transports {
			which := (i + round) % len(transports)
			r, err := w.run(ctx, cfg, which)
			if err != nil {
				return medians, fmt.Errorf("round %d, %s, %d B: %w", round+1, transports[which].name, w.size, err)
			}
			fmt.Fprintf(os.Stderr, "round %d, %s, %d B: %.0f calls/s, cpu %.0f%%, p50 p99 p99.9 max %v\n",
				round+1, transports[which].name, w.size, r.rate, 100*r.cpu, r.latencies)
			runs[which] = append(runs[which], r)
		}
	}
	for which := range medians {
		medians[which] = median(runs[which])
	}
	return medians, nil
}

// run starts a plugin and calls it from all callers until the time is over. It
// returns an error if a call fails.
func (w work) run(ctx context.Context, cfg config, which int) (_ result, err error) {
	// This is longer than any call takes, unless it is lost.
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, cfg.length+patience)
	defer cancel()
	before, err := cpuTime()
	if err != nil {
		return result{}, err
	}
	p, err := launch(ctx, cfg, which)
	if err != nil {
		return result{}, err
	}
	client := echopb.NewEchoClient(p)
	latencies := make([][]time.Duration, callers)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	started := time.Now()
	for i := range callers {
		wg.Go(func() {
			payload := &echopb.Payload{Data: make([]byte, w.size)}
			for begin := time.Now(); begin.Sub(started) < cfg.length && errs[i] == nil; {
				_, errs[i] = client.Unary(ctx, payload)
				end := time.Now()
				latencies[i] = append(latencies[i], end.Sub(begin))
				begin = end
			}
		})
	}
	wg.Wait()
	took := time.Since(started)
	if err := errors.Join(append(errs, p.Close())...); err != nil {
		return result{}, err
	}
	after, err := cpuTime() // includes the time of the plugin, which has ended
	if err != nil {
		return result{}, err
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	r := result{
		rate: float64(len(all)) / took.Seconds(),
		cpu:  (after - before).Seconds() / took.Seconds() / float64(runtime.NumCPU()),
	}
	for i, permille := range permilles {
		r.latencies[i] = all[(len(all)-1)*permille/1000]
	}
	return r, nil
}

func launch(ctx context.Context, cfg config, which int) (*host.Plugin, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := transports[which]
	cmd := exec.Command("nsenter", "--net="+cfg.namespace, "--", self, rolePlugin, t.name, cfg.listen)
	p, err := host.Launch(ctx, cmd, host.WithProtocols(echopb.EchoProtocol), host.WithTransports(t.open("")))
	if err != nil {
		return nil, err
	}
	if info := p.Info(); info.Security != handshake.SecurityMTLS {
		return nil, errors.Join(fmt.Errorf("%s is authenticated by %s, want %s", info.Transport, info.Security, handshake.SecurityMTLS), p.Close())
	}
	return p, nil
}

// cpuTime returns the time that this process and the children that have ended
// were running.
func cpuTime() (sum time.Duration, err error) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return 0, fmt.Errorf("getrusage: %w", err)
		}
		sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return sum, nil
}

// median returns the median of each figure.
func median(runs []result) result {
	m := result{
		rate: medianOf(runs, func(r result) float64 { return r.rate }),
		cpu:  medianOf(runs, func(r result) float64 { return r.cpu }),
	}
	for i := range m.latencies {
		m.latencies[i] = medianOf(runs, func(r result) time.Duration { return r.latencies[i] })
	}
	return m
}

func medianOf[T float64 | time.Duration](runs []result, figure func(result) T) T {
	values := make([]T, len(runs))
	for i, r := range runs {
		values[i] = figure(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// report returns the results as a table, and whether the aim is met.
func (w work) report(results [len(transports)]result) (text string, met bool) {
	var table strings.Builder
	fmt.Fprintf(&table, "%d B, %d callers\tcalls/s\tcpu\tp50\tp99\tp99.9\tmax\t\n", w.size, callers)
	for which, r := range results {
		fmt.Fprintf(&table, "%s\t%.0f\t%.0f%%\t", transports[which].name, r.rate, 100*r.cpu)
		for _, latency := range r.latencies {
			fmt.Fprintf(&table, "%.1f ms\t", float64(latency)/float64(time.Millisecond))
		}
		table.WriteByte('\n')
	}
	var out strings.Builder
	tw := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = io.WriteString(tw, table.String()) // writes to memory do not fail
	_ = tw.Flush()

	i := slices.Index(permilles[:], w.permille)
	ratio := float64(results[1].latencies[i]) / float64(results[0].latencies[i])
	met = ratio <= w.aim
	verdict := "met"
	if !met {
		verdict = "missed"
	}
	fmt.Fprintf(&out, "p%g: %s takes %.2f times as long as %s; aim: at most %.2f: %s\n\n",
		float64(w.permille)/10, transports[1].name, ratio, transports[0].name, w.aim, verdict)
	return out.String(), met
}
