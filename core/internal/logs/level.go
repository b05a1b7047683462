package logs

import (
	"context"
	"log/slog"
	"strconv"
)

// Plugins use these levels, for which slog has no name.
const (
	// LevelTrace is the level of zerolog's and hclog's trace lines.
	LevelTrace = slog.LevelDebug - 4
	// levelNotice is between info and warn: notice in syslog, success in loguru.
	levelNotice = slog.LevelInfo + 2
	// LevelFatal is the level above error. It stands for fatal and panic in zerolog
	// and zap, after which a program ends, and for critical and above where
	// critical is the highest, as in Python and .NET.
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
// error, in exactly this spelling. It reports false for any other text.
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
// that l has enabled. For a logger without any of them it returns
// [slog.LevelError], the least that a host can ask a plugin for. These lines are
// useful in the tail of the plugin's stderr even if no logger takes them.
func Lowest(l *slog.Logger) slog.Level {
	for _, o := range offered {
		if l.Enabled(context.Background(), o.level) {
			return o.level
		}
	}
	return slog.LevelError
}

// levelText returns the level in the form of [Default]: zerolog's name, and for
// a level between two names the lower name with the distance, for example
// "info+2".
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
