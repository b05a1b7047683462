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
func Console(w io.Writer, level slog.Level) *slog.Logger { return newDefault(console{w: w}, level) }

// JSON is Default on anything else.
func JSON(w io.Writer, level slog.Level) *slog.Logger { return newDefault(escaper{w}, level) }

// Write is one read of Run.
func (c *Collector) Write(chunk []byte) { c.write(chunk) }

// IsHidden is what the package takes for a character that is not seen.
func IsHidden(r rune) bool { return isHidden(r) }

// Quote is how the package quotes text.
func Quote(s string) string { return quote(s) }
