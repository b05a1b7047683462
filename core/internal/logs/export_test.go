package logs

import (
	"io"
	"log/slog"
)

// The times that tests of a pending panic let pass.
const (
	PanicIdle    = panicIdle
	PanicLongest = panicLongest
)

// SetMaxPiece lets tests have short pieces.
func (c *Collector) SetMaxPiece(n int) { c.maxPiece = n }

// Console is Default on a terminal.
func Console(w io.Writer, level slog.Level) *slog.Logger { return newDefault(console(w, false), level) }

// JSON is Default on anything else.
func JSON(w io.Writer, level slog.Level) *slog.Logger { return newDefault(w, level) }

// Write is one read of Run.
func (c *Collector) Write(chunk []byte) { c.write(chunk) }
