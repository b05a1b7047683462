package logs

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
)

// The levels that plugins use and slog has no name for.
const (
	// LevelTrace is the level of zerolog's and hclog's trace lines.
	LevelTrace = slog.LevelDebug - 4
	// LevelFatal is the level of a line whose writer says that it is its last
	// one: fatal and panic in zerolog and zap.
	LevelFatal = slog.LevelError + 4
)

// offered are the values of loglevel in a host's offer, lowest first.
var offered = [...]struct {
	name  string
	level slog.Level
}{
	{"trace", LevelTrace},
	{"debug", slog.LevelDebug},
	{"info", slog.LevelInfo},
	{"warn", slog.LevelWarn},
	{"error", slog.LevelError},
}

// ParseLevel reads a loglevel of the handshake: trace, debug, info, warn or
// error, exactly so. It reports false for anything else.
func ParseLevel(s string) (slog.Level, bool) {
	for _, o := range offered {
		if s == o.name {
			return o.level, true
		}
	}
	return 0, false
}

// LevelName returns the loglevel of the handshake for l: the highest one that
// still lets a record of level l through, and trace for everything below debug.
func LevelName(l slog.Level) string {
	name := offered[0].name
	for _, o := range offered[1:] {
		if l >= o.level {
			name = o.name
		}
	}
	return name
}

// Lowest returns the lowest of the levels trace, debug, info, warn and error
// that l has enabled. A logger that has none of them gets [slog.LevelError]: the
// least that a plugin can be told to write, and worth having in the tail of its
// stderr even when no logger wants it.
func Lowest(l *slog.Logger) slog.Level {
	for _, o := range offered {
		if l.Enabled(context.Background(), o.level) {
			return o.level
		}
	}
	return slog.LevelError
}

// levelText is the level as [Default] writes it: zerolog's name, and for a level
// between two names the lower one with the distance, for example "info+2".
func levelText(l slog.Level) string {
	name, base := LevelName(l), LevelFatal
	if l >= LevelFatal {
		name = "fatal"
	} else {
		base, _ = ParseLevel(name)
	}
	if l == base {
		return name
	}
	offset := strconv.Itoa(int(l - base))
	if l > base {
		offset = "+" + offset
	}
	return name + offset
}

// writtenLevel reads a level as loggers write it: a name in any case, and after
// it slog's distance, for example "INFO+2" or "trace-4".
func writtenLevel(s string) (slog.Level, bool) {
	name, offset := s, int64(0)
	if i := strings.IndexAny(s, "+-"); i > 0 {
		var err error
		// Eight bits are more than any logger uses and cannot overflow a Level.
		if offset, err = strconv.ParseInt(s[i:], 10, 8); err != nil {
			return 0, false
		}
		name = s[:i]
	}
	level, ok := levelNamed(name)
	return level + slog.Level(offset), ok
}

// levelNamed knows the names of zerolog, slog, zap, hclog and logrus, in any
// case.
func levelNamed(name string) (slog.Level, bool) {
	if len(name) > len("warning") {
		return 0, false
	}
	switch strings.ToLower(name) {
	case "trace":
		return LevelTrace, true
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn", "warning":
		return slog.LevelWarn, true
	case "error", "dpanic":
		return slog.LevelError, true
	case "fatal", "panic":
		return LevelFatal, true
	default:
		return 0, false
	}
}
