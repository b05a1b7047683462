package logs

import (
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// Default returns the logger of a host or a plugin without one of its own. It
// writes records of at least the given level to w. If w is a terminal, the form
// is for people, in colour unless the environment has NO_COLOR. Otherwise the
// form is zerolog's JSON lines: a [Collector] at the other end of a pipe restores
// level, time, groups and fields. Errors and durations are written as their text,
// for example "1.5s".
//
// A record is one line, whatever is in it: characters that change how a line is read
// are quoted, in JSON as \u escapes. The logger's attributes "plugin" and "pid" come
// before the message, and only once in a record.
//
// The logger is safe for concurrent use. It does not close w.
func Default(w *os.File, level slog.Level) *slog.Logger {
	if isTerminal(w) {
		return newDefault(console{w: w, plain: !enableColor(w)}, level)
	}
	return newDefault(escaper{w}, level)
}

// ForPeople is like [Default], but writes the form for people also if w is not a
// terminal, then without colour.
func ForPeople(w *os.File, level slog.Level) *slog.Logger {
	return newDefault(console{w: w, plain: !isTerminal(w) || !enableColor(w)}, level)
}

func isTerminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()) }

func newDefault(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(&handler{logger: zerolog.New(w), form: zerologForm, level: level})
}

// Hclog returns a logger for a plugin under a go-plugin host: the JSON lines of
// hclog, the only lines that such a host reads as log records. It has no level
// above error and none between two names. Otherwise it is like [Default].
func Hclog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(&handler{logger: zerolog.New(escaper{w}), form: hclogForm, level: level})
}
