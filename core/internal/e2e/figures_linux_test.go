package e2e_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/supervise"
)

// TestSupervisedFigures measures what callers see of a crash, of a swap and of a saved
// source. With PLUGWIRE_FIGURES=full it prints the tables of docs/performance.md. Otherwise
// it shows that the measurement of crashes and swaps works; [TestWatchedSource] shows the
// same of the other one. One part runs after the other, so that none is load for another.
func TestSupervisedFigures(t *testing.T) {
	full := os.Getenv("PLUGWIRE_FIGURES") == "full"
	if full && raceEnabled {
		t.Fatal("the race detector distorts what PLUGWIRE_FIGURES=full measures: run without it")
	}
	rounds, names := 3, []string{"unix"}
	if full {
		rounds, names = 1000, append(ways.Names(), "go-plugin")
	}
	if text := os.Getenv("PLUGWIRE_FIGURES_ROUNDS"); text != "" {
		rounds = atoi(t, text)
	}
	var crashes, stages, changes table
	for _, name := range names {
		launch := launching(t, onGoPlugin())
		if name != "go-plugin" {
			launch = launching(t, command("matrix-plugin"), host.WithProtocols(matrix.Protocol), host.WithTransports(ways.Named(name)))
		}
		t.Run(name, func(t *testing.T) {
			gaps := measureCrashes(t, launch, rounds)
			each := func(took func(gap) time.Duration) (all []time.Duration) {
				for _, g := range gaps {
					all = append(all, took(g))
				}
				return all
			}
			crashes.add(name, each(func(g gap) time.Duration { return g.answered.Sub(g.killed) }))
			for _, s := range []struct {
				name string
				took func(gap) time.Duration
			}{
				{"the host notices the end and cleans up", func(g gap) time.Duration { return g.exited.Sub(g.killed) }},
				{"the handle calls the launch function", func(g gap) time.Duration { return g.launched.Sub(g.exited) }},
				{"start, handshake and connection", func(g gap) time.Duration { return g.connected.Sub(g.launched) }},
				{"first probe", func(g gap) time.Duration { return g.ready.Sub(g.connected) }},
				{"first answer", func(g gap) time.Duration { return g.answered.Sub(g.ready) }},
			} {
				stages.add(name+": "+s.name, each(s.took))
			}
			began := time.Now()
			swapped := measureSwaps(t, launch, rounds, 0)
			changes.add(name+": no swap", measureSwaps(t, launch, 0, time.Since(began)))
			changes.add(name+": a swap after the other", swapped)
		})
	}
	if full {
		var saved table
		saves := measureSaves(t, min(rounds, 20)) // a build takes seconds
		for _, row := range []struct {
			name string
			took func(saveTimes) time.Duration
		}{
			{"build", func(s saveTimes) time.Duration { return s.build }},
			{"from the save to the first answer", func(s saveTimes) time.Duration { return s.serving }},
			{"the same, without the build", func(s saveTimes) time.Duration { return s.serving - s.build }},
		} {
			var all []time.Duration
			for _, s := range saves {
				all = append(all, row.took(s))
			}
			saved.add(row.name, all)
		}
		fmt.Printf("\nFrom SIGKILL to the next answer, %d callers:\n\n%s\nWhere the time goes:\n\n%s\nA call, %d callers, %d swaps:\n\n%s\nFrom a saved source to the new version, %d callers, no failed call:\n\n%s\n",
			chaosCallers, crashes.String("kills"), stages.String("kills"), chaosCallers, rounds, changes.String("calls"), chaosCallers, saved.String("saves"))
	}
}

// table is a table of Markdown with quantiles.
type table struct{ rows []string }

func (t *table) String(counted string) string {
	return fmt.Sprintf("| | %s | p50 | p90 | p99 | longest |\n| --- | --- | --- | --- | --- | --- |\n%s", counted, strings.Join(t.rows, ""))
}

func (t *table) add(name string, all []time.Duration) {
	slices.Sort(all)
	at := func(percent int) string {
		return fmt.Sprintf("%.1f ms", float64(all[min(len(all)*percent/100, len(all)-1)].Microseconds())/1000)
	}
	t.rows = append(t.rows, fmt.Sprintf("| %s | %d | %s | %s | %s | %s |\n", name, len(all), at(50), at(90), at(99), at(100)))
}

// gap is the time between two plugins.
type gap struct {
	killed, exited, launched, connected, ready, answered time.Time
}

// measureCrashes kills a plugin under load, each time at a random moment of its life. An
// answer counts if the call began after the kill and another plugin took it.
func measureCrashes(t *testing.T, launch supervise.LaunchFunc, kills int) []gap {
	t.Helper()
	var launched, connected atomic.Int64
	timed := func(ctx context.Context) (*host.Plugin, error) {
		launched.Store(time.Now().UnixNano())
		p, err := launch(ctx)
		connected.Store(time.Now().UnixNano())
		return p, err
	}
	events := make(chan supervise.Event, 100)
	h := superviseTest(t, timed, eager, supervise.WithHold(hang), supervise.WithListener(func(e supervise.Event) {
		if e.Kind == supervise.KindExited || e.Kind == supervise.KindReady {
			events <- e
		}
	}))
	waitFor(t, "ready", events)
	stop := superviseLoad(t, h, false, crashed)
	client := echopb.NewEchoClient(h)
	rnd := soakRandom(t)
	var gaps []gap
	for range kills {
		time.Sleep(50*time.Millisecond + upTo(rnd, 20*time.Millisecond)) // the load is steady again, and the moment is random
		p, err := h.Plugin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		starts := h.State().Starts
		g := gap{killed: time.Now()}
		if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			_, err := client.Unary(ctx, &echopb.Payload{})
			cancel()
			if err != nil && !crashed(err) {
				t.Fatal(err)
			}
			if err == nil && h.State().Starts > starts {
				break
			}
		}
		g.answered = time.Now()
		g.exited = waitFor(t, "exited", events).Time
		g.ready = waitFor(t, "ready", events).Time
		g.launched, g.connected = time.Unix(0, launched.Load()), time.Unix(0, connected.Load())
		gaps = append(gaps, g)
	}
	if answered, _ := stop(); answered == 0 {
		t.Error("no call was answered")
	}
	return gaps
}

// measureSwaps returns how long each call took, during the swaps and for idle after them.
// For each swap a stream is open that was begun before, and goes on after it.
func measureSwaps(t *testing.T, launch supervise.LaunchFunc, swaps int, idle time.Duration) []time.Duration {
	t.Helper()
	h := superviseTest(t, launch)
	client := echopb.NewEchoClient(h)
	var stopping atomic.Bool
	var callers sync.WaitGroup
	took := make([][]time.Duration, chaosCallers)
	for i := range chaosCallers {
		callers.Go(func() {
			for !stopping.Load() {
				began := time.Now()
				if _, err := client.Unary(t.Context(), &echopb.Payload{Data: []byte("x")}); err != nil {
					t.Errorf("a call while the plugin is replaced: %v", err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	exchange := func(stream echopb.Echo_ChatClient) error {
		err := stream.Send(&echopb.Payload{Data: []byte("x")})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for range swaps {
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		held, err := client.Chat(ctx)
		if err == nil {
			err = exchange(held)
		}
		if err == nil {
			err = h.Swap(ctx, launch)
		}
		if err == nil {
			err = exchange(held)
		}
		if err == nil {
			err = held.CloseSend()
		}
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(idle)
	stopping.Store(true)
	callers.Wait()
	return slices.Concat(took...)
}
