package main

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// longInput is the size from which on an input takes long enough for a person
// to want to see progress.
const longInput = 1 << 20

// refreshInterval is the least time between two states of the bar: short enough
// to look alive, long enough to cost nothing.
const refreshInterval = 100 * time.Millisecond

// eraseLine makes a terminal erase the line that the cursor is in.
const eraseLine = "\r\x1b[K"

// progress is a bar on a terminal that shows how much of a long input has been
// processed. If the results go to a terminal too, the bar makes room for each.
// It is not safe for concurrent use.
type progress struct {
	enabled bool
	shared  bool  // with the results
	total   int64 // -1 if unknown
	done    int64
	stderr  io.Writer

	bar     *progressbar.ProgressBar // nil until first needed
	visible bool
}

// newProgress returns a bar for input, which stays invisible unless stderr is a
// terminal and the input is long.
func newProgress(input, stdout, stderr *os.File) *progress {
	p := &progress{
		enabled: isTerminal(stderr),
		shared:  isTerminal(stdout),
		total:   -1,
		stderr:  stderr,
	}
	if info, err := input.Stat(); err == nil && info.Mode().IsRegular() {
		p.total = info.Size()
	}
	return p
}

func isTerminal(f *os.File) bool {
	return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd())
}

// add counts n more bytes as processed.
func (p *progress) add(n int) {
	p.done += int64(n)
	if !p.enabled || max(p.total, p.done) < longInput {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(p.total,
			progressbar.OptionSetWriter(terminal{p}),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionThrottle(refreshInterval),
			progressbar.OptionSetSpinnerChangeInterval(0)) // or a goroutine would turn it
	}
	done := p.done
	if p.total >= 0 {
		done = min(done, p.total) // a file may grow meanwhile
	}
	if err := p.bar.Set64(done); err != nil {
		p.enabled = false
	}
}

// makeRoom erases the bar for a result, if results go to a terminal.
func (p *progress) makeRoom() {
	if p.shared {
		p.remove()
	}
}

// remove erases the bar. The next add may show it again.
func (p *progress) remove() {
	if !p.visible {
		return
	}
	p.visible = false
	if _, err := io.WriteString(p.stderr, eraseLine); err != nil {
		p.enabled = false
	}
}

// terminal is where a bar is drawn. It gives up the bar, though not the work,
// when that goes wrong.
type terminal struct{ p *progress }

func (t terminal) Write(b []byte) (int, error) {
	t.p.visible = true
	n, err := t.p.stderr.Write(b)
	if err != nil {
		t.p.enabled = false
	}
	return n, err
}
