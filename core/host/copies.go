package host

import (
	"io"
	"sync"
)

// copies are the user's writers for what a plugin prints, each nil if there is none.
type copies struct{ stdout, stderr io.Writer }

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
