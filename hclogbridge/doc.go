// Package hclogbridge connects hclog and log/slog, both ways. [NewHandler] makes a
// [slog.Handler] that writes to an [hclog.Logger], for a host or a plugin that logs
// with hclog. [NewLogger] makes an hclog.Logger that writes to a slog.Handler, for
// code that accepts only such a logger.
//
// It is not for reading the lines that a plugin prints with hclog: a host does that
// itself.
package hclogbridge

import (
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// levelTrace is the level of hclog's trace, as in core: one step below debug.
const levelTrace = slog.LevelDebug - 4

// toSlog returns the level of slog. [hclog.NoLevel] is hclog's info.
func toSlog(level hclog.Level) slog.Level {
	switch level {
	case hclog.Trace:
		return levelTrace
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	case hclog.NoLevel, hclog.Info, hclog.Off:
		return slog.LevelInfo
	default:
		return slog.LevelInfo
	}
}

// toHclog returns the level of hclog: the highest that is not above level.
func toHclog(level slog.Level) hclog.Level {
	switch {
	case level >= slog.LevelError:
		return hclog.Error
	case level >= slog.LevelWarn:
		return hclog.Warn
	case level >= slog.LevelInfo:
		return hclog.Info
	case level >= slog.LevelDebug:
		return hclog.Debug
	default:
		return hclog.Trace
	}
}
