package hunt

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/internal/testrun"
)

const (
	// batch is how long one process runs a test again and again. It is long
	// compared with the start of a binary that compiles commands first, and
	// short enough to reach all tests.
	batch = 10 * time.Second

	// stuck is the time after which package testing ends a process. It is
	// several times what the slowest binary takes as a whole on a busy machine.
	stuck = 20 * time.Minute

	// grace is how long an interrupted process may take to end. Mage waits 5 s
	// for its targets, which have files to remove after the process.
	grace = 2 * time.Second

	// maxBatch is how often one process runs a test at most: a fast test has the
	// rest of its runs under other conditions.
	maxBatch = 40
)

// A quarry is a test, or a binary as a whole, with the results of its runs.
type quarry struct {
	Result
	binary Binary
	each   time.Duration // how long one run takes; zero before the first run
	state  condition     // condition of the first failure
	added  int           // runs of the last batch
	told   bool          // has its first failure
}

func (q *quarry) name() string {
	if q.Test == "" {
		return q.Package + " (whole)"
	}
	return q.Package + " " + q.Test
}

// quarries lists everything to run, whole binaries first, because they take
// longest.
func (c Config) quarries() []*quarry {
	var whole, alone []*quarry
	for _, b := range c.Binaries {
		if c.Whole > 0 {
			whole = append(whole, &quarry{binary: b, Result: Result{Package: b.Package, Wanted: c.Whole}})
		}
		for _, test := range b.Tests {
			if c.Alone > 0 {
				alone = append(alone, &quarry{binary: b, Result: Result{Package: b.Package, Test: test, Wanted: c.Alone}})
			}
		}
	}
	return append(whole, alone...)
}

// run runs a batch. Runs that ctx has interrupted do not count.
func (q *quarry) run(ctx context.Context, state condition) {
	count := 1
	if q.Test != "" && q.each > 0 {
		count = int(min(max(batch/q.each, 1), maxBatch, time.Duration(q.Wanted-q.Runs)))
	}
	args := []string{"-test.v", "-test.timeout", stuck.String(), "-test.count", strconv.Itoa(count)}
	if q.Test != "" {
		args = append(args, "-test.run", "^"+regexp.QuoteMeta(q.Test)+"$")
	}
	cmd := exec.CommandContext(ctx, q.binary.Path, args...)
	cmd.Dir = q.binary.Dir
	cmd.Env = os.Environ()
	if state.procs > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", state.procs))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	q.added = 0
	if ctx.Err() != nil {
		return
	}
	runs, failed := tally(out.String(), q.Test)
	if err != nil && failed == 0 {
		failed = 1 // the process ended before it could say which test failed
	}
	q.added = max(runs, failed, 1)
	q.each = time.Since(began)/time.Duration(q.added) + 1
	q.Runs += q.added
	q.Failed += failed
	if failed > 0 && q.First == "" {
		q.First, q.state = firstFailure(out.String(), err), state
	}
}

var verdict = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\w+) `)

// tally counts the runs of a test and its failures in the output of a binary. For
// a binary as a whole, it counts one.
func tally(out, test string) (runs, failed int) {
	for _, found := range verdict.FindAllStringSubmatch(out, -1) {
		if test != "" && found[2] != test {
			continue
		}
		runs++
		if found[1] == "FAIL" {
			failed++
		}
	}
	if test == "" {
		return 1, min(failed, 1)
	}
	return runs, failed
}

// firstFailure returns the message of the first failure in the output of a
// binary: the text in front of the first verdict FAIL, or the line that says
// why the process ended.
func firstFailure(out string, err error) string {
	var since int
	for _, at := range verdict.FindAllStringSubmatchIndex(out, -1) {
		if out[at[2]:at[3]] == "FAIL" {
			name := out[at[4]:at[5]]
			end := len(out)
			if next := verdict.FindStringIndex(out[at[1]:]); next != nil {
				end = at[1] + next[0]
			}
			if message := testrun.FirstMessage(out[since:end]); message != "" {
				return name + ": " + message
			}
			return name
		}
		since = at[1]
	}
	if message := testrun.FirstMessage(out[since:]); message != "" {
		return message
	}
	return strings.TrimSpace(fmt.Sprint(err))
}
