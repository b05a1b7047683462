package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
)

// reporter prints a line for each step. On a terminal it updates the line while the step
// goes on.
type reporter struct {
	out  io.Writer
	live bool
}

func newReporter(out io.Writer) *reporter {
	f, ok := out.(*os.File)
	return &reporter{out, ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))}
}

// update shows how a step goes, on a terminal.
func (r *reporter) update(step string, c counts) {
	if r.live {
		_, _ = fmt.Fprint(r.out, "\r"+line(step, c))
	}
}

// finish prints how a step went.
func (r *reporter) finish(step string, c counts) {
	r.update(step, c)
	if !r.live {
		_, _ = fmt.Fprint(r.out, line(step, c))
	}
	_, _ = fmt.Fprintln(r.out)
}

// line has fixed widths, so that each update covers the one before.
func line(step string, c counts) string {
	return fmt.Sprintf("%-20s  %8d calls  %d failed  %3d lost in flight  worst gap %8.1f ms",
		step, c.calls, c.failures, c.lost, float64(c.gap)/float64(time.Millisecond))
}
