package logs

import (
	"io"
	"log/slog"
)

// These are the times that tests of a pending panic let pass.
const (
	PanicIdle    = panicIdle
	PanicLongest = panicLongest
)

// SetMaxPiece lets tests have short pieces.
func (c *Collector) SetMaxPiece(n int) { c.maxPiece = n }

// Console is Default on a terminal.
func Console(w io.Writer, level slog.Level) *slog.Logger { return newDefault(console{w: w}, level) }

// JSON is Default on an output that is not a terminal.
func JSON(w io.Writer, level slog.Level) *slog.Logger { return newDefault(escaper{w}, level) }

// Write is one read of Run.
func (c *Collector) Write(chunk []byte) { c.write(chunk) }

// IsHidden reports whether the package treats r as an invisible character.
func IsHidden(r rune) bool { return isHidden(r) }

// Quote is how the package quotes text.
func Quote(s string) string { return quote(s) }
