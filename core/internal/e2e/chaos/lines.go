//go:build linux

package chaos

import (
	"context"
	"log/slog"
	"regexp"
	"strconv"
	"sync"
)

// Lines is a log handler that remembers which of the plugin's lines arrived.
type Lines struct {
	mu   sync.Mutex // guards seen
	seen map[uint64]int
}

// Enabled implements [slog.Handler].
func (*Lines) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler]. A line may be part of a record: the runtime of a
// crashing plugin prints in pieces, a line may come between these, and everything
// after the first piece is one record.
func (l *Lines) Handle(_ context.Context, r slog.Record) error {
	l.look(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString {
			l.look(a.Value.String())
		}
		return true
	})
	return nil
}

var line = regexp.MustCompile(linePrefix + `(\d+)\.`)

func (l *Lines) look(text string) {
	for _, found := range line.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(found[1], 10, 64)
		if err != nil {
			continue // more digits than any line has
		}
		l.mu.Lock()
		if l.seen == nil {
			l.seen = make(map[uint64]int)
		}
		l.seen[n]++
		l.mu.Unlock()
	}
}

// WithAttrs implements [slog.Handler].
func (l *Lines) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements [slog.Handler].
func (l *Lines) WithGroup(string) slog.Handler { return l }

// Lost returns which of the first n lines have not arrived exactly once. The
// line after them may have arrived, because the plugin had no time to count it.
func (l *Lines) Lost(n uint64) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost []uint64
	for i := uint64(1); i <= n; i++ {
		if l.seen[i] != 1 {
			lost = append(lost, i)
		}
	}
	return lost
}
