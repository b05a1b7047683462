//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// The soak has its full length with PLUGWIRE_SOAK=full, which mage soak sets.
func soakLength(full, short int) int {
	if os.Getenv("PLUGWIRE_SOAK") == "full" {
		return full
	}
	return short
}

// soakRandom returns a source of randomness for one goroutine, whose seed is
// logged. PLUGWIRE_SOAK_SEED repeats a seed, but not the timing of processes.
func soakRandom(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("PLUGWIRE_SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Logf("PLUGWIRE_SOAK_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func upTo(rnd *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rnd.Int64N(int64(d)))
}

// TestSoakCycles starts plugins repeatedly in this process, and checks that
// nothing is left of them.
func TestSoakCycles(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		soak(t, soakLength(1000, 20), 1, callAndClose())
	})
	t.Run("mutual TLS", func(t *testing.T) {
		soak(t, soakLength(500, 10), 1, callAndClose(host.WithMutualTLS()))
	})
	t.Run("four at once", func(t *testing.T) {
		soak(t, soakLength(1000, 24), 4, callAndClose(), callAndClose(host.WithMutualTLS()))
	})
	t.Run("failing starts", func(t *testing.T) {
		soak(t, soakLength(500, 24), 4,
			failingStart(exec.Command("/no/such/plugin")),
			failingStart(exec.Command("/bin/sh", "-c", "echo not an answer; echo nor this")),
			failingStart(exec.Command("/bin/sh", "-c", "exit 3")),
			failingStart(exec.Command("/bin/sh", "-c", "exec sleep 600"), host.WithStartTimeout(20*time.Millisecond)),
			failingStart(exec.Command("/bin/sh", "-c", "echo '1|1|unix|/no/such/socket|grpc'; exec sleep 600")),
			failingStart(exec.Command("/bin/sh", "-c", "exec >&-; exec sleep 600"), host.WithStartTimeout(20*time.Millisecond)),
			failingStart(echoPlugin(), host.WithCookie("PLUGIN_MAGIC_COOKIE", "another")),
			cancelledStart,
		)
	})
	t.Run("crashes", func(t *testing.T) {
		soak(t, soakLength(500, 15), 4, crash("crash"), crash("exit"), killed)
	})
}

// A cycle starts a plugin and ends it. It may only call tb.Error.
type cycle func(tb testing.TB, opts []host.Option, rnd *rand.Rand)

// soak runs count cycles, one kind after another and several at once, and
// checks that this process and its surroundings are unchanged.
func soak(t *testing.T, count, atOnce int, kinds ...cycle) {
	t.Helper()
	place := newPlace(t)
	t.Setenv("TMPDIR", place.dir)
	t.Setenv(markVariable, place.mark)
	rnd := soakRandom(t)
	opts := options(t, host.WithLogger(slog.New(slog.DiscardHandler)))
	for _, run := range kinds { // afterwards everything that is made only once exists
		run(t, opts, rnd)
	}
	before := takeFootprint(t, place)

	started := time.Now()
	next := make(chan cycle)
	var workers sync.WaitGroup
	for range atOnce {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		workers.Go(func() {
			for run := range next {
				run(t, opts, rnd)
			}
		})
	}
	for i := range count {
		next <- kinds[i%len(kinds)]
	}
	close(next)
	workers.Wait()
	t.Logf("%d cycles in %v", count, time.Since(started).Round(time.Millisecond))

	eventually(t, settleTime, func() string {
		after := takeFootprint(t, place)
		// The warm-up may have left some goroutines that were about to end.
		after.Goroutines = max(after.Goroutines, before.Goroutines)
		maps.DeleteFunc(before.Descriptors, func(fd int, _ string) bool { return after.Descriptors[fd] == "" })
		diff := cmp.Diff(before, after)
		if diff != "" {
			diff += stacks()
		}
		return diff
	})
}

// settleTime bounds how long goroutines and processes that end by themselves
// may take. It is long because nothing depends on it.
const settleTime = hang

// footprint has the resources that a process uses.
type footprint struct {
	Goroutines  int
	Descriptors map[int]string
	Children    []int // zombies included
	Files       []string
}

func takeFootprint(tb testing.TB, place *place) footprint {
	tb.Helper()
	fds, err := descriptors(os.Getpid())
	if err != nil {
		tb.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(place.dir, "*"))
	if err != nil {
		tb.Fatal(err)
	}
	return footprint{Goroutines: runtime.NumGoroutine(), Descriptors: fds, Children: children(), Files: files}
}

func stacks() string {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // writes to memory do not fail
	return b.String()
}

// callAndClose is the ordinary life of a plugin.
func callAndClose(opts ...host.Option) cycle {
	return func(tb testing.TB, common []host.Option, _ *rand.Rand) {
		tb.Helper()
		p, err := host.Launch(tb.Context(), echoPlugin(), slices.Concat(common, opts)...)
		if err != nil {
			tb.Error(err)
			return
		}
		got, err := echopb.NewEchoClient(p).Unary(tb.Context(), &echopb.Payload{Data: []byte("hello")})
		if err != nil || string(got.GetData()) != "hello" {
			tb.Errorf("call: got %q, %v", got.GetData(), err)
		}
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	}
}

func failingStart(cmd *exec.Cmd, opts ...host.Option) cycle {
	return func(tb testing.TB, common []host.Option, _ *rand.Rand) {
		tb.Helper()
		p, err := host.Launch(tb.Context(), cmd, slices.Concat(common, opts)...)
		if err == nil {
			tb.Errorf("%s started", cmd)
			_ = p.Close()
		}
	}
}

// cancelledStart ends the start's context at a random moment, even after the
// start: the context does not govern the plugin's later life.
func cancelledStart(tb testing.TB, opts []host.Option, rnd *rand.Rand) {
	tb.Helper()
	const aboutOneStart = 30 * time.Millisecond
	ctx, cancel := context.WithTimeout(tb.Context(), upTo(rnd, 2*aboutOneStart))
	defer cancel()
	p, err := host.Launch(ctx, echoPlugin(), opts...)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			tb.Error(err)
		}
		return
	}
	<-ctx.Done()
	if err := p.Ping(tb.Context()); err != nil {
		tb.Errorf("after the end of the start's context: %v", err)
	}
	if err := p.Close(); err != nil {
		tb.Error(err)
	}
}

// crash ends a plugin in the middle of a call.
func crash(how string) cycle {
	return func(tb testing.TB, opts []host.Option, _ *rand.Rand) {
		tb.Helper()
		p, err := host.Launch(tb.Context(), echoPlugin(), opts...)
		if err != nil {
			tb.Error(err)
			return
		}
		var exit *host.ExitError
		if _, err := echopb.NewEchoClient(p).Fail(tb.Context(), &echopb.FailRequest{How: how}); !errors.As(err, &exit) {
			tb.Errorf("call: got %v, want an ExitError", err)
		}
		assertEnds(tb, p)
	}
}

// killed kills an idle plugin.
func killed(tb testing.TB, opts []host.Option, _ *rand.Rand) {
	tb.Helper()
	p, err := host.Launch(tb.Context(), echoPlugin(), opts...)
	if err != nil {
		tb.Error(err)
		return
	}
	if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
		tb.Error(err)
	}
	assertEnds(tb, p)
}

// assertEnds waits for a plugin that ends by itself.
func assertEnds(tb testing.TB, p *host.Plugin) {
	tb.Helper()
	<-p.Done()
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Step != "" {
		tb.Errorf("Err: got %v, want an ExitError of a plugin that was not asked to end", p.Err())
	}
}

// goneWithin is how long it may take after a host was killed until none of its
// plugins is left, and none of their sockets. The promise is 2 s, which no host can
// keep on a machine that does a hundred other things. Nothing else ends the plugins.
const goneWithin = hang / 2

// TestSoakHostKilled kills a host that launches plugins without end, at random
// moments from its start on.
func TestSoakHostKilled(t *testing.T) {
	plugin := lifePlugin(t)
	rnd := soakRandom(t)
	place := newPlace(t)
	var slowest time.Duration
	for round := range soakLength(100, 10) {
		// Every other time while the first plugins start.
		life := upTo(rnd, 800*time.Millisecond)
		if round%2 == 0 {
			life = upTo(rnd, 80*time.Millisecond)
		}
		cmd := command("life-host", "churn", plugin.Path)
		cmd.Env = place.env()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(life) // the moment is random; the test waits for nothing
		plugins := len(place.processes()) - 1
		died := time.Now()
		killHost(t, cmd)
		if stderr.Len() > 0 {
			t.Fatalf("round %d: the host had trouble of its own: %s", round, &stderr)
		}
		eventually(t, goneWithin, place.left)
		took := time.Since(died)
		slowest = max(slowest, took)
		t.Logf("round %d: killed after %v with %d plugins, all gone after %v", round, life, plugins, took.Round(time.Millisecond))
	}
	t.Logf("the slowest end took %v", slowest.Round(time.Millisecond))

	// Directories may be left. The next start removes them.
	once := command("life-host", "once", plugin.Path)
	once.Env = place.env()
	if out, err := once.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(place.dir); err != nil || len(left) > 0 {
		t.Errorf("left after another host came and went: %v, %v", left, err)
	}
}

// killHost kills a host, and only it, and waits for its end.
func killHost(tb testing.TB, cmd *exec.Cmd) {
	tb.Helper()
	if err := cmd.Process.Kill(); err != nil {
		tb.Fatal(err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		tb.Fatalf("the host ended before it was killed: %v\n%s", err, cmd.Stderr)
	}
}
