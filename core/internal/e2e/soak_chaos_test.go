//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/chaos"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// chaosCallers is how many callers a plugin has when it dies.
const chaosCallers = 64

// endsWithin is how long a call may go on after the plugin has ended, and a plugin
// after its death began. Nothing is expected to take this long.
const endsWithin = hang / 2

// A death is a way in which a plugin ends.
type death struct {
	name string
	// by causes the death, from outside or by a call whose answer does not
	// matter.
	by func(pid int, client echopb.EchoClient) error
	// lives means that the process keeps running, and the host has to end it.
	lives bool
	// silent means that output after the death cannot arrive.
	silent bool
	// orderly means that the plugin may refuse calls, because it was asked to
	// end.
	orderly bool
	// cut means that the connection ends first, and the process keeps running.
	cut bool
}

// chaosDeaths are all deaths.
func chaosDeaths() []death {
	signal := func(s syscall.Signal) func(int, echopb.EchoClient) error {
		return func(pid int, _ echopb.EchoClient) error { return syscall.Kill(pid, s) }
	}
	call := func(how string) func(int, echopb.EchoClient) error {
		return func(_ int, client echopb.EchoClient) error {
			ctx, cancel := context.WithTimeout(context.Background(), endsWithin)
			defer cancel()
			_, err := client.Fail(ctx, &echopb.FailRequest{How: how})
			if errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil // its error is the end of the plugin
		}
	}
	deaths := []death{
		{name: "close", by: func(int, echopb.EchoClient) error { return nil }, lives: true, orderly: true},
		{name: "SIGTERM", by: signal(syscall.SIGTERM), orderly: true},
		{name: "stopped", by: signal(syscall.SIGSTOP), lives: true, orderly: true},
		{name: "exit", by: call("exit")},
		{name: "exit with 0", by: call("exit quietly")},
		{name: "panic", by: call("crash")},
		{name: "Goexit", by: call("goexit"), lives: true, orderly: true},
		{name: "fatal error", by: call("fatal error")},
		{name: "stack overflow", by: call("stack overflow")},
		{name: "descriptors closed", by: call("descriptors closed"), lives: true, cut: true},
		{name: "descriptors used up", by: call("descriptors used up"), lives: true, orderly: true},
		{name: "disk full", by: call("disk full")},
		{name: "output closed", by: call("output closed"), lives: true, silent: true, orderly: true},
		{name: "child", by: func(pid int, client echopb.EchoClient) error {
			return errors.Join(call("child")(pid, client), syscall.Kill(pid, syscall.SIGKILL))
		}},
	}
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGSYS} {
		deaths = append(deaths, death{name: s.String(), by: signal(s)})
	}
	return deaths
}

// A chaosWay is a way to connect a plugin to its host.
type chaosWay struct {
	name string
	own  bool // the plugin is on this framework
	opts []host.Option
}

func chaosWays() []chaosWay {
	var found []chaosWay
	for _, name := range ways.Wired() {
		found = append(found, chaosWay{name: name, own: true, opts: ways.Options(name)})
	}
	unix := host.WithTransports(ways.Named("unix"))
	return append(found,
		chaosWay{name: "mutual TLS", own: true, opts: []host.Option{unix, host.WithMutualTLS()}},
		chaosWay{name: "go-plugin", opts: []host.Option{unix}},
		chaosWay{name: "go-plugin, multiplexed", opts: []host.Option{unix, host.WithMultiplex()}},
	)
}

func (w chaosWay) command() *exec.Cmd {
	if w.own {
		return command("chaos-plugin")
	}
	return command("chaos-plugin", "go-plugin")
}

// TestSoakChaos lets plugins die in every way, over every transport and in
// go-plugin's modes, under many callers of all kinds. No call ends late or without
// the reason, no acknowledged write and no printed line is lost, and nothing is
// left.
func TestSoakChaos(t *testing.T) {
	t.Parallel()
	rnd := soakRandom(t)
	type cell struct {
		way   chaosWay
		death death
	}
	var cells []cell
	for _, way := range chaosWays() {
		for _, death := range chaosDeaths() {
			if way.own || death.name != "Goexit" { // after such a death, a call of a plugin on go-plugin never ends
				cells = append(cells, cell{way, death})
			}
		}
	}
	all := len(cells)
	for len(cells) < soakLength(1050, all) {
		cells = append(cells, cells[:all]...)
	}
	rnd.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	cells = cells[:soakLength(len(cells), 14)] // a short run uses any of them, a full one all

	next := make(chan cell)
	var workers sync.WaitGroup
	var total chaosCount
	for range 2 {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		workers.Go(func() {
			for c := range next {
				total.add(dieOnce(t, c.way, c.death, rnd))
			}
		})
	}
	for _, c := range cells {
		next <- c
	}
	close(next)
	workers.Wait()
	t.Logf("%d plugin deaths, %d calls: %s", len(cells), total.calls, &total)
}

// chaosCount counts broken promises.
type chaosCount struct {
	mu                               sync.Mutex // guards the fields below
	calls, late, lines, writes, left int
}

func (c *chaosCount) add(o chaosOutcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls += o.calls
	c.late += o.late
	c.lines += o.lines
	c.writes += o.writes
	c.left += o.left
}

func (c *chaosCount) String() string {
	return fmt.Sprintf("%d calls that ended late or without a reason, %d lost lines, %d lost writes, %d leftovers", c.late, c.lines, c.writes, c.left)
}

type chaosOutcome struct{ calls, late, lines, writes, left int }

// dieOnce runs one plugin until it dies.
func dieOnce(t *testing.T, way chaosWay, death death, rnd *rand.Rand) (o chaosOutcome) {
	t.Helper()
	complain := func(counter *int, format string, args ...any) {
		*counter++
		t.Errorf("%s, %s: "+format, append([]any{way.name, death.name}, args...)...)
	}
	began := time.Now()
	place := newPlace(t)
	cmd := way.command()
	cmd.Env = append(place.env(), chaos.EnvDir+"="+place.dir)
	var lines chaos.Lines
	var p *host.Plugin
	launched := make(chan struct{})
	opts := append([]host.Option{host.WithProtocols(chaos.Protocol), host.WithLogger(slog.New(&lines))}, way.opts...)
	if way.own {
		opts = append(opts, host.WithServices(duplexpb.ServeDuplex(&duplex.Handler{Other: func(context.Context) grpc.ClientConnInterface {
			<-launched
			return p
		}})))
	}
	p, err := host.Launch(testContext(t), cmd, opts...)
	close(launched)
	if err != nil {
		complain(&o.late, "%v", err)
		return o
	}
	load, err := chaos.Start(p, chaos.Config{Dir: place.dir, Callers: chaosCallers, Callbacks: way.own, Dead: func(err error) bool {
		// A handler may find its file closed before the connection is.
		return chaos.ExitError(err) || death.cut &&
			(strings.Contains(err.Error(), "was lost while it went on running") || strings.Contains(err.Error(), syscall.EBADF.Error()))
	}})
	if err != nil {
		complain(&o.late, "%v", errors.Join(err, p.Close()))
		return o
	}
	select { // the moment is random
	case <-time.After(upTo(rnd, 100*time.Millisecond)):
	case <-p.Done():
	}
	if death.orderly {
		load.Orderly()
	}
	if err := death.by(p.Info().PID, echopb.NewEchoClient(p)); err != nil {
		complain(&o.late, "%v", err)
	}
	if death.lives {
		load.Orderly() // the host refuses calls while it stops the plugin
		ctx, cancel := context.WithTimeout(t.Context(), upTo(rnd, 2*time.Second))
		_ = p.Shutdown(ctx) // its error does not matter
		cancel()
	}
	select {
	case <-p.Done():
	case <-time.After(endsWithin):
		complain(&o.late, "the plugin has not ended after %v: %s", endsWithin, place.leftRunning())
		_ = p.Close()
	}
	calls, broken := load.Wait(endsWithin)
	o.calls = calls
	for _, line := range slices.Compact(broken) {
		complain(&o.late, "%s", line)
	}
	if printed, err := chaos.PrintedLines(place.dir); err != nil {
		complain(&o.lines, "%v", err)
	} else if lost := lines.Lost(printed); len(lost) > 0 && !death.silent {
		complain(&o.lines, "of %d lines %d are lost or duplicate, the first is %d", printed, len(lost), lost[0])
	}
	if lost, err := chaos.LostWrites(place.dir); err != nil || len(lost) > 0 {
		complain(&o.writes, "%d writes are lost, %v", len(lost), err)
	}
	o.left = place.awaitEmpty(t, place.leftButFiles, func(left string) { t.Errorf("%s, %s: left: %s", way.name, death.name, left) })
	t.Logf("%s, %s: %d calls, %v", way.name, death.name, o.calls, time.Since(began).Round(time.Millisecond))
	return o
}

// leftButFiles describes what is left here beside the files of package chaos.
func (p *place) leftButFiles() string {
	files := slices.DeleteFunc(p.files(), func(path string) bool { return filepath.Dir(path) == p.dir })
	return strings.TrimSpace(p.leftRunning() + " " + strings.Join(files, " "))
}

// awaitEmpty waits until nothing is left, and returns 1 if files or processes
// stay.
func (p *place) awaitEmpty(tb testing.TB, check func() string, complain func(left string)) int {
	tb.Helper()
	poll := time.NewTicker(interval)
	defer poll.Stop()
	for deadline := time.Now().Add(endsWithin); ; <-poll.C {
		left := check()
		if left == "" {
			return 0
		}
		if time.Now().After(deadline) {
			complain(left)
			return 1
		}
	}
}

// TestSoakChaosHosts kills hosts at random moments, while their plugins start, work
// and stop, with many callers and a child of the plugin's. No process is left, no
// socket after the next host, and no acknowledged write is lost.
func TestSoakChaosHosts(t *testing.T) {
	t.Parallel()
	rnd := soakRandom(t)
	var kinds [][]string
	for _, name := range ways.Names() {
		kinds = append(kinds, []string{"plugwire", name, command("chaos-plugin").Path})
	}
	kinds = append(kinds,
		[]string{"plugwire", "unix", command("chaos-plugin").Path, "go-plugin"},
		[]string{"go-plugin", command("chaos-plugin").Path},
	)
	rounds := soakLength(504, len(kinds))
	var total chaosCount
	for round := range rounds {
		args := kinds[round%len(kinds)]
		life := upTo(rnd, 400*time.Millisecond)
		total.add(killHostOnce(t, args, life))
	}
	t.Logf("%d host deaths: %s", rounds, &total)
}

func killHostOnce(t *testing.T, args []string, life time.Duration) (o chaosOutcome) {
	t.Helper()
	place := newPlace(t)
	cmd := command("chaos-host", args...)
	cmd.Env = append(place.env(), chaos.EnvDir+"="+place.dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-time.After(life) // the moment is random
	killHost(t, cmd)
	if stderr.Len() > 0 {
		o.late++
		t.Errorf("%v: the host had trouble of its own: %s", args, &stderr)
	}
	leftBy := func(left string) { t.Errorf("%v, killed after %v: left: %s", args, life, left) }
	o.left = place.awaitEmpty(t, place.leftRunning, leftBy)
	runOnce(t, place, nil) // the next host removes what a foreign plugin has left
	o.left += place.awaitEmpty(t, place.leftButFiles, leftBy)
	if lost, err := chaos.LostWrites(place.dir); err != nil || len(lost) > 0 {
		o.writes++
		t.Errorf("%v, killed after %v: %d writes are lost, %v", args, life, len(lost), err)
	}
	return o
}
