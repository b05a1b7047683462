package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/transport/unix"
)

type config struct {
	rounds int
	slice  time.Duration
	run    *regexp.Regexp // what to measure, by name
}

// aimRatio is how much more than plain grpc-go anything may cost in the default
// configuration, and aimTLS how much longer a start with TLS may take.
const (
	aimRatio = 1.1
	aimTLS   = 3 * time.Millisecond
)

const (
	startName  = "start to first answer"
	allocsName = "allocations"
)

// measure runs the measurements.
func measure(ctx context.Context, cfg config, progress func(name string)) (results []result, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if cfg.run.MatchString(startName) {
		progress(startName)
		if results, err = measureStart(ctx, cfg, self, dir); err != nil {
			return nil, err
		}
	}
	socket := filepath.Join(dir, "both")
	p, err := launch(ctx, self, []string{plainSocket + "=" + socket})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	cc, err := dialPlain(socket)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	plugwire, plain := echopb.NewEchoClient(p), echopb.NewEchoClient(cc)
	for _, m := range measurements {
		if !cfg.run.MatchString(m.name) {
			continue
		}
		progress(m.name)
		r, err := m.compare(ctx, cfg, plugwire, plain)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		results = append(results, r)
	}
	if !cfg.run.MatchString(allocsName) {
		return results, nil
	}
	progress(allocsName)
	allocs, err := measureAllocs(ctx, plugwire, plain)
	return append(results, allocs...), err
}

func launch(ctx context.Context, self string, env []string, opts ...host.Option) (*host.Plugin, error) {
	cmd := exec.Command(self, rolePlugin)
	cmd.Env = append(os.Environ(), env...)
	return host.Launch(ctx, cmd, append(opts, host.WithProtocols(echopb.EchoProtocol), host.WithTransports(unix.New()))...)
}

func dialPlain(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// measurement is a piece of work whose cost per operation is compared.
type measurement struct {
	name, unit string
	scale      time.Duration // what the unit is
	// work does operations until ctx ends or deadline has passed, and returns
	// how many it did.
	work func(ctx context.Context, c echopb.EchoClient, deadline time.Time) (int, error)
}

var measurements = []measurement{
	{"unary 64 B, 1 caller", "us/call", time.Microsecond, unary(64, 1)},
	{"unary 64 B, 64 callers", "us/call", time.Microsecond, unary(64, 64)},
	{"echo 64 KiB", "us/call", time.Microsecond, unary(64<<10, 1)},
	{"echo 1 MiB", "us/call", time.Microsecond, unary(1<<20, 1)},
	{"server stream of 1 KiB", "us/message", time.Microsecond, download(1<<10, 1000)},
}

// compare runs the work for both sides in turn, the order changing with each
// round, and compares the medians of the rounds' costs.
func (m measurement) compare(ctx context.Context, cfg config, plugwire, plain echopb.EchoClient) (result, error) {
	var costs [2][]float64
	clients := [2]echopb.EchoClient{plugwire, plain}
	for round := range cfg.rounds + 1 {
		for i := range clients {
			side := (i + round) % len(clients)
			start := time.Now()
			n, err := m.work(ctx, clients[side], start.Add(cfg.slice))
			if err != nil {
				return result{}, err
			}
			if round > 0 { // the first one warms up
				costs[side] = append(costs[side], float64(time.Since(start))/float64(m.scale)/float64(n))
			}
		}
	}
	return compared(m.name, m.unit, median(costs[0]), median(costs[1])), nil
}

func compared(name, unit string, plugwire, plain float64) result {
	ratio := plugwire / plain
	return result{name, unit, plugwire, plain, ratio, fmt.Sprintf("<= %.1f x", aimRatio), ratio <= aimRatio}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func unary(size, callers int) func(context.Context, echopb.EchoClient, time.Time) (int, error) {
	return func(ctx context.Context, c echopb.EchoClient, deadline time.Time) (int, error) {
		var done atomic.Int64
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				payload := &echopb.Payload{Data: make([]byte, size)}
				for time.Now().Before(deadline) && errs[i] == nil {
					_, errs[i] = c.Unary(ctx, payload)
					done.Add(1)
				}
			})
		}
		wg.Wait()
		return int(done.Load()), errors.Join(errs...)
	}
}

func download(size, count int32) func(context.Context, echopb.EchoClient, time.Time) (int, error) {
	return func(ctx context.Context, c echopb.EchoClient, deadline time.Time) (int, error) {
		n := 0
		for time.Now().Before(deadline) {
			stream, err := c.Download(ctx, &echopb.DownloadRequest{Count: count, Size: size})
			if err != nil {
				return n, err
			}
			for {
				_, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return n, err
				}
				n++
			}
		}
		return n, nil
	}
}

// measureStart compares the time from starting a process to its first answer.
func measureStart(ctx context.Context, cfg config, self, dir string) ([]result, error) {
	var byDefault, withTLS, plain []float64
	for round := range cfg.rounds + 1 {
		var times [3]float64
		for i, start := range []func() (time.Duration, error){
			func() (time.Duration, error) { return startPlugin(ctx, self) },
			func() (time.Duration, error) { return startPlugin(ctx, self, host.WithMutualTLS()) },
			func() (time.Duration, error) {
				return startPlain(ctx, self, filepath.Join(dir, fmt.Sprint("plain", round)))
			},
		} {
			took, err := start()
			if err != nil {
				return nil, err
			}
			times[i] = float64(took) / float64(time.Millisecond)
		}
		if round > 0 {
			byDefault, withTLS, plain = append(byDefault, times[0]), append(withTLS, times[1]), append(plain, times[2])
		}
	}
	tls := median(withTLS) - median(byDefault)
	return []result{
		compared(startName, "ms", median(byDefault), median(plain)),
		{
			"start with TLS forced", "ms", median(withTLS), median(plain), median(withTLS) / median(plain),
			fmt.Sprintf("<= default + %v", aimTLS), tls <= float64(aimTLS)/float64(time.Millisecond),
		},
	}, nil
}

func startPlugin(ctx context.Context, self string, opts ...host.Option) (time.Duration, error) {
	begin := time.Now()
	p, err := launch(ctx, self, nil, opts...)
	if err != nil {
		return 0, err
	}
	_, err = echopb.NewEchoClient(p).Unary(ctx, &echopb.Payload{})
	took := time.Since(begin)
	return took, errors.Join(err, p.Close())
}

func startPlain(ctx context.Context, self, socket string) (time.Duration, error) {
	begin := time.Now()
	cmd := exec.CommandContext(ctx, self, rolePlain, socket)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		err = callPlain(ctx, socket)
	}
	took := time.Since(begin)
	err = errors.Join(err, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	return took, err
}

func callPlain(ctx context.Context, socket string) error {
	cc, err := dialPlain(socket)
	if err != nil {
		return err
	}
	_, err = echopb.NewEchoClient(cc).Unary(ctx, &echopb.Payload{})
	return errors.Join(err, cc.Close())
}

// allocCalls is how many calls allocations are averaged over; enough for those
// of timers and of the garbage collector to vanish.
const allocCalls = 5000

// measureAllocs compares the allocations per unary call of both processes.
func measureAllocs(ctx context.Context, plugwire, plain echopb.EchoClient) ([]result, error) {
	var hosts, plugins [2]float64
	for side, c := range []echopb.EchoClient{plugwire, plain} {
		there, err := mallocsThere(ctx, c)
		if err != nil {
			return nil, err
		}
		here := mallocsHere()
		for range allocCalls {
			if _, err := c.Unary(ctx, &echopb.Payload{}); err != nil {
				return nil, err
			}
		}
		hosts[side] = (mallocsHere() - here) / allocCalls
		after, err := mallocsThere(ctx, c)
		if err != nil {
			return nil, err
		}
		plugins[side] = (after - there) / allocCalls
	}
	return []result{
		compared(allocsName+" in the host", "1/call", hosts[0], hosts[1]),
		compared(allocsName+" in the plugin", "1/call", plugins[0], plugins[1]),
	}, nil
}

func mallocsHere() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

func mallocsThere(ctx context.Context, c echopb.EchoClient) (float64, error) {
	resp, err := c.Fail(ctx, &echopb.FailRequest{How: "mallocs"})
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(resp.GetData()), 64)
}
