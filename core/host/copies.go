package host

import (
	"io"
	"sync"
)

// copies are the user's writers for what a plugin prints, each nil if there is none.
type copies struct{ stdout, stderr io.Writer }

// printedCopies are the writers for what a plugin on go-plugin prints, if they are not those
// for its standard output and error.
type printedCopies struct {
	copies
	set bool
}

// WithPrinted sets writers for what a plugin on go-plugin sends as its output after the
// handshake (GRPCStdio), which is what it prints on os.Stdout and os.Stderr. [WithStdout]
// and [WithStderr] then get only what the process itself writes to its two streams. Without
// the option they get both. Either writer may be nil. The host logs the output as well. A
// Write that blocks blocks the plugin. Calls of Write do not overlap.
func WithPrinted(stdout, stderr io.Writer) Option {
	return optionFunc(func(cfg *config) error {
		cfg.printed = printedCopies{copies{stdout, stderr}, true}
		return nil
	})
}

// printedBy returns the writers for what a plugin on go-plugin sends. raw are those for its
// standard output and error.
func (c *config) printedBy(raw copies) copies {
	if c.printed.set {
		return c.printed.copies // the fetcher writes to each from one goroutine
	}
	return raw
}

func newCopies(cfg *config) (c copies) {
	if cfg.stdout != nil {
		c.stdout = &lockedWriter{w: cfg.stdout}
	}
	if cfg.stderr != nil {
		c.stderr = &lockedWriter{w: cfg.stderr}
	}
	return c
}

// lockedWriter runs one Write at a time.
type lockedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// Write implements [io.Writer].
func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
