package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/supervise"
)

// groupTest returns a group without members that is closed when the test ends.
func groupTest(tb testing.TB, opts ...supervise.GroupOption) *supervise.Group {
	tb.Helper()
	g, err := supervise.NewGroup(append([]supervise.GroupOption{supervise.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := g.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return g
}

// memberNames returns n names.
func memberNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("echo-%02d", i)
	}
	return names
}

// memberOf returns a member of the group.
func memberOf(tb testing.TB, g *supervise.Group, name string) *supervise.Handle {
	tb.Helper()
	h, err := g.Member(name)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// pids returns the process of each member that has one.
func pids(g *supervise.Group) map[string]int {
	pids := make(map[string]int)
	for _, s := range g.State() {
		if s.Plugin != nil {
			pids[s.Name] = s.Plugin.Info().PID
		}
	}
	return pids
}

// groupLoad has a caller for each member until the test stops it. stop returns how many
// calls were answered, and the first error of each member that had one. A caller goes on
// after an error of a plugin that has crashed.
func groupLoad(tb testing.TB, g *supervise.Group, names ...string) (stop func() (answered int64, failed map[string]error)) {
	tb.Helper()
	var answers atomic.Int64
	var stopping atomic.Bool
	var mu sync.Mutex // guards failed
	failed := make(map[string]error)
	var callers sync.WaitGroup
	for _, name := range names {
		client := echopb.NewEchoClient(memberOf(tb, g, name))
		callers.Go(func() {
			for n := uint64(0); !stopping.Load(); n++ {
				data := binary.BigEndian.AppendUint64([]byte(name), n)
				ctx, cancel := context.WithTimeout(tb.Context(), hang)
				answer, err := client.Unary(ctx, &echopb.Payload{Data: data})
				cancel()
				if err == nil && !bytes.Equal(answer.GetData(), data) {
					err = fmt.Errorf("call %x was answered %x", data, answer.GetData())
				}
				if err == nil {
					answers.Add(1)
					continue
				}
				mu.Lock()
				if failed[name] == nil {
					failed[name] = err
				}
				mu.Unlock()
				if !crashed(err) {
					return
				}
			}
		})
	}
	return func() (int64, map[string]error) {
		stopping.Store(true)
		callers.Wait()
		return answers.Load(), failed
	}
}

// TestSoakGroupKills starts a group, with a bound on the starts that go on at once. Then it
// kills one member again and again. No other member is touched: each has its process, and
// no call to it fails.
func TestSoakGroupKills(t *testing.T) {
	t.Parallel()
	const bound = 6
	names := memberNames(soakLength(100, 8))
	var starting, most atomic.Int64
	busy := make(chan struct{}) // closed when as many starts go on as may
	launch := launching(t, echoPlugin())
	counted := func(ctx context.Context) (*host.Plugin, error) {
		n := starting.Add(1)
		defer starting.Add(-1)
		for old := most.Load(); n > old; old = most.Load() {
			if most.CompareAndSwap(old, n) && n == bound {
				close(busy)
			}
		}
		select {
		case <-busy:
			return launch(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	g := groupTest(t, supervise.WithParallelStarts(bound), eager, supervise.WithHold(hang))
	var specs []supervise.Spec
	for _, name := range names {
		specs = append(specs, supervise.Spec{Name: name, Launch: counted})
	}
	began := time.Now()
	if err := g.Apply(testContext(t), specs...); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d plugins are ready after %v", len(names), time.Since(began))
	if n := most.Load(); n != bound {
		t.Errorf("%d plugins were in their start at once, want %d", n, bound)
	}
	before := pids(g)
	stop := groupLoad(t, g, names...)
	victim := names[len(names)/2]
	for range soakLength(200, 5) {
		killCurrent(t, memberOf(t, g, victim))
	}
	if _, err := memberOf(t, g, victim).Plugin(testContext(t)); err != nil {
		t.Error(err)
	}
	answered, failed := stop()
	delete(failed, victim)
	for name, err := range failed {
		t.Errorf("a call to %s: %v", name, err)
	}
	after := pids(g)
	for _, name := range names {
		if same := before[name] == after[name]; same == (name == victim) || after[name] == 0 {
			t.Errorf("%s was process %d and is process %d", name, before[name], after[name])
		}
	}
	t.Logf("%d calls answered", answered)
}

// TestSoakGroupClose closes a group with members that are stuck: stopped by a signal, or
// busy in their own shutdown. All are gone after one grace, and those that are not stuck
// have ended in good order.
func TestSoakGroupClose(t *testing.T) {
	t.Parallel()
	names := memberNames(soakLength(100, 8))
	quiet := host.WithLogger(slog.New(slog.DiscardHandler))
	good, slow := launching(t, echoPlugin(), quiet), launching(t, command("life-plugin", "slow hook"), quiet)
	g, err := supervise.NewGroup(supervise.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var specs []supervise.Spec
	stuck := make(map[string]string)
	for i, name := range names {
		s := supervise.Spec{Name: name, Launch: good}
		switch i % 4 {
		case 1:
			stuck[name] = "is stopped"
		case 2:
			s.Launch, stuck[name] = slow, "hangs in its shutdown"
		}
		specs = append(specs, s)
	}
	specs[0].Needs = names[1:3] // it is stopped before both
	specs[3].Needs = names[:1]
	if err := g.Apply(testContext(t), specs...); err != nil {
		t.Fatal(err)
	}
	plugins := make(map[string]*host.Plugin)
	for _, s := range g.State() {
		plugins[s.Name] = s.Plugin
		if stuck[s.Name] == "is stopped" {
			stopProcess(t, s.Plugin.Info().PID)
		}
	}
	const grace = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), grace)
	defer cancel()
	began := time.Now()
	err = g.Shutdown(ctx)
	took := time.Since(began)
	if err == nil {
		t.Fatal("the stuck plugins ended in good order")
	}
	// One after the other, the stuck members would need their grace each.
	if one := grace + hang/4; took > one {
		t.Errorf("it took %v, more than %v", took, one)
	}
	t.Logf("%d plugins, %d of them stuck, are gone after %v", len(names), len(stuck), took)
	for name, p := range plugins {
		if !isClosed(p.Done()) {
			t.Errorf("%s is left", name)
			continue
		}
		if killed := p.Err() != nil; killed != (stuck[name] != "") {
			t.Errorf("%s %s, and ended: %v", name, stuck[name], p.Err())
		}
	}
}

// TestGroupIdle stops a process that nobody calls. The next call starts another one.
func TestGroupIdle(t *testing.T) {
	t.Parallel()
	g := groupTest(t)
	ctx := testContext(t)
	if err := g.Apply(ctx, supervise.Spec{Name: "echo", Launch: launching(t, echoPlugin()), Lazy: true, Idle: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if s := g.State()[0]; s.Phase != supervise.PhaseIdle || s.Starts > 0 {
		t.Errorf("a lazy member was started: %+v", s)
	}
	h := memberOf(t, g, "echo")
	client := echopb.NewEchoClient(h)
	for range 3 {
		if _, err := client.Unary(ctx, payload("hello")); err != nil {
			t.Fatal(err)
		}
		p, err := h.Plugin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the end of the idle plugin", p.Done())
		if err := p.Err(); err != nil {
			t.Errorf("the idle plugin ended: %v", err)
		}
	}
}

// TestGroupSwapsAllOrNone swaps a set of plugins under load, with a broken one among them and
// without. No call fails, and a set with a broken one changes no process.
func TestGroupSwapsAllOrNone(t *testing.T) {
	t.Parallel()
	good := launching(t, echoPlugin())
	g := groupTest(t)
	ctx := testContext(t)
	if err := g.Apply(ctx,
		supervise.Spec{Name: "a", Launch: good}, supervise.Spec{Name: "b", Launch: good}, supervise.Spec{Name: "c", Launch: good},
	); err != nil {
		t.Fatal(err)
	}
	stop := groupLoad(t, g, "a", "b", "c")
	for name, broken := range map[string]supervise.LaunchFunc{
		"missing":      launching(t, exec.Command("/nonexistent")),
		"not a plugin": launching(t, exec.Command("/bin/true")),
	} {
		before := g.State()
		err := g.Swap(ctx, map[string]supervise.LaunchFunc{"a": good, "b": broken})
		if start, ok := errors.AsType[*host.StartError](err); !ok || !strings.HasPrefix(err.Error(), "swap: the group is as it was: plugin b: ") {
			t.Errorf("%s: %v (%v)", name, err, start)
		}
		if after := g.State(); !slices.Equal(before, after) {
			t.Errorf("%s: the group changed from %+v to %+v", name, before, after)
		}
	}
	before := pids(g)
	if err := g.Swap(ctx, map[string]supervise.LaunchFunc{"a": good, "b": good}); err != nil {
		t.Error(err)
	}
	after := pids(g)
	if before["a"] == after["a"] || before["b"] == after["b"] || before["c"] != after["c"] {
		t.Errorf("the processes were %v and are %v", before, after)
	}
	if answered, failed := stop(); len(failed) > 0 || answered == 0 {
		t.Errorf("%d calls were answered, and these failed: %v", answered, failed)
	}
	for _, pid := range []int{before["a"], before["b"]} {
		eventually(t, settleTime, func() string {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Sprintf("process %d is left", pid)
			}
			return ""
		})
	}
}
