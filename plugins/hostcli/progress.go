package hostcli

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// longInput is the size of an input that takes so long that users want to see
// progress.
const longInput = 1 << 20

// refreshInterval is the shortest time between two states of the bar: short
// enough for a smooth bar, long enough to cost little.
const refreshInterval = 100 * time.Millisecond

// eraseLine makes a terminal erase the line that the cursor is in.
const eraseLine = "\r\x1b[K"

// A Progress is a bar on a terminal that shows how much of a long input has been
// processed. If the results go to a terminal too, the bar is erased for each
// result. It is not safe for concurrent use.
type Progress struct {
	enabled bool
	shared  bool  // shares the terminal with the results
	total   int64 // -1 if unknown
	done    int64
	stderr  io.Writer

	bar     *progressbar.ProgressBar // nil until first needed
	visible bool
}

// NewProgress returns a bar for total bytes, -1 if that is not known. It stays
// invisible unless stderr is a terminal and the input is long, from 1 MiB. Results
// go to stdout.
func NewProgress(total int64, stdout, stderr *os.File) *Progress {
	return &Progress{
		enabled: isTerminal(stderr),
		shared:  isTerminal(stdout),
		total:   total,
		stderr:  stderr,
	}
}

func isTerminal(f *os.File) bool {
	return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd())
}

// Add counts n more bytes as processed.
func (p *Progress) Add(n int64) {
	p.done += n
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
			progressbar.OptionSetSpinnerChangeInterval(0)) // otherwise a goroutine would turn it
	}
	done := p.done
	if p.total >= 0 {
		done = min(done, p.total) // the file may have grown
	}
	if err := p.bar.Set64(done); err != nil {
		p.enabled = false
	}
}

// MakeRoom erases the bar for a result, if results go to a terminal.
func (p *Progress) MakeRoom() {
	if p.shared {
		p.Remove()
	}
}

// Remove erases the bar. The next Add may show it again.
func (p *Progress) Remove() {
	if !p.visible {
		return
	}
	p.visible = false
	if _, err := io.WriteString(p.stderr, eraseLine); err != nil {
		p.enabled = false
	}
}

// terminal draws a bar. If drawing fails, it gives up the bar, and the work
// continues.
type terminal struct{ p *Progress }

func (t terminal) Write(b []byte) (int, error) {
	t.p.visible = true
	n, err := t.p.stderr.Write(b)
	if err != nil {
		t.p.enabled = false
	}
	return n, err
}
