// Package hunt looks for tests that fail now and then. It runs each test of a
// repository by itself many times, and each test binary as a whole. It uses the race
// detector, several numbers of processors, a quiet machine and a busy machine. Begin
// with [Run].
package hunt

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what to hunt in, and for how long.
type Config struct {
	Binaries []Binary
	Alone    int           // runs of each test by itself
	Whole    int           // runs of each binary as a whole
	Duration time.Duration // the hunt ends after this time, even if runs are left
	Progress io.Writer     // gets a line when a test fails for the first time, and one each minute
}

// Binary is a compiled test binary.
type Binary struct {
	Package string // name in tables
	Path    string
	Dir     string // directory of the package, in which it runs
	Tests   []string
}

// Result is the result of one test, or of one binary as a whole.
type Result struct {
	Package string
	Test    string // empty for the binary as a whole
	Runs    int
	Wanted  int
	Failed  int
	First   string // message of the first failure
}

// A condition is how busy the machine is, and how many processors a test gets.
type condition struct {
	procs int // GOMAXPROCS of the test and its processes; 0 leaves the default
	busy  bool
}

// conditions are those under which each test runs, one after the other.
var conditions = []condition{
	{0, false}, {0, true}, {1, false}, {1, true}, {2, false}, {2, true}, {4, false}, {4, true},
}

func (c condition) String() string {
	s := "quiet"
	if c.busy {
		s = "busy"
	}
	if c.procs > 0 {
		s += fmt.Sprintf(", GOMAXPROCS=%d", c.procs)
	}
	return s
}

// busyLoops is how many loops each processor runs beside the tests on a busy
// machine. Each test then gets about a fourth of the time.
const busyLoops = 3

// Run hunts until all runs are done, the duration is over, or ctx ends. It runs
// every test once before it runs one of them again, so even a short hunt covers
// all tests.
func Run(ctx context.Context, c Config) []Result {
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	quarries := c.quarries()
	progress := &progress{out: c.Progress, began: time.Now(), last: time.Now(), all: len(quarries)}
	for turn := 0; ctx.Err() == nil; turn++ {
		state := conditions[turn%len(conditions)]
		if !turnOf(ctx, quarries, state, progress) {
			break
		}
	}
	results := make([]Result, len(quarries))
	for i, q := range quarries {
		results[i] = q.Result
	}
	return results
}

// turnOf runs each quarry that has runs left once more. It reports whether there
// was one.
func turnOf(ctx context.Context, quarries []*quarry, state condition, progress *progress) bool {
	if state.busy {
		defer keepBusy(busyLoops * runtime.NumCPU())()
	}
	todo := make(chan *quarry)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for q := range todo {
				q.run(ctx, state)
				progress.note(q)
			}
		})
	}
	some := false
	for _, q := range quarries {
		if ctx.Err() == nil && q.Runs < q.Wanted {
			some = true
			todo <- q
		}
	}
	close(todo)
	workers.Wait()
	return some
}

// keepBusy keeps n threads busy until the returned function is called.
func keepBusy(n int) (stop func()) {
	before := runtime.GOMAXPROCS(runtime.NumCPU() + n)
	var over atomic.Bool
	var loops sync.WaitGroup
	for range n {
		loops.Go(func() {
			for !over.Load() { // the loop only keeps a processor busy
			}
		})
	}
	return func() {
		over.Store(true)
		loops.Wait()
		runtime.GOMAXPROCS(before)
	}
}

// progress reports on a running hunt. There is no place to report its own errors.
type progress struct {
	out   io.Writer
	began time.Time
	all   int

	mu   sync.Mutex // guards last and out
	last time.Time
	runs int
}

// progressPause is the time between two reports of a running hunt.
const progressPause = time.Minute

func (p *progress) note(q *quarry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs += q.added
	if q.Failed > 0 && !q.told {
		q.told = true
		_, _ = fmt.Fprintf(p.out, "%s failed: %s (%s)\n", q.name(), q.First, q.state)
	}
	if now := time.Now(); now.Sub(p.last) >= progressPause {
		p.last = now
		_, _ = fmt.Fprintf(p.out, "%.0f min: %d runs of %d tests and binaries\n", now.Sub(p.began).Minutes(), p.runs, p.all)
	}
}
