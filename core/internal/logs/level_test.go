package logs_test

import (
	"log/slog"
	"testing"

	"github.com/plugwire/plugwire/core/internal/logs"
)

func TestLevelNames(t *testing.T) {
	for level, want := range map[slog.Level]string{
		-100:                "trace",
		logs.LevelTrace:     "trace",
		slog.LevelDebug - 1: "trace",
		slog.LevelDebug:     "debug",
		slog.LevelInfo:      "info",
		slog.LevelInfo + 1:  "info",
		slog.LevelWarn:      "warn",
		slog.LevelError:     "error",
		logs.LevelFatal:     "error",
	} {
		if got := logs.LevelName(level); got != want {
			t.Errorf("LevelName(%d) = %q, want %q", level, got, want)
		}
		if back, ok := logs.ParseLevel(want); !ok || logs.LevelName(back) != want {
			t.Errorf("ParseLevel(%q) = %d, %v", want, back, ok)
		}
	}
	for _, s := range []string{"", "INFO", "info ", "fatal", "warning", "0"} {
		if level, ok := logs.ParseLevel(s); ok {
			t.Errorf("ParseLevel(%q) = %v, want none", s, level)
		}
	}
}

func TestLowest(t *testing.T) {
	for level, want := range map[slog.Level]slog.Level{
		-100:               logs.LevelTrace,
		slog.LevelDebug:    slog.LevelDebug,
		slog.LevelInfo + 1: slog.LevelWarn,
		slog.LevelError:    slog.LevelError,
		logs.LevelFatal:    slog.LevelError,
	} {
		if got := logs.Lowest(slog.New(&recorder{level: level})); got != want {
			t.Errorf("Lowest of a logger at %d = %v, want %v", level, got, want)
		}
	}
	if got := logs.Lowest(slog.New(slog.DiscardHandler)); got != slog.LevelError {
		t.Errorf("Lowest of a logger that takes nothing = %v, want error", got)
	}
}
