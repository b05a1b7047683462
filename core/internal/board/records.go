package board

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"unicode/utf8"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// keptLevel is the lowest level of the records that the board keeps even if the host's own
// logger does not want them. A host that logs nothing would otherwise show an operator the
// events of a supervised plugin, and none of the plugin's words about their cause.
const keptLevel = slog.LevelInfo

// Handler returns a handler that gives next the records that it wants. It keeps these for
// readers, and also all others from keptLevel on. Handler may be called on nil.
func (r *Run) Handler(next slog.Handler) slog.Handler {
	if r == nil {
		return next
	}
	process.mu.Lock()
	name := r.row.name
	process.mu.Unlock()
	own := r.row.records(name)
	return &tee{next: next, root: own, own: own.WithGroup(attrsKey)}
}

// Log keeps a record about the plugin name for readers that no logger of a plugin has. It may
// be called on nil. The row need not be on the board yet: that a plugin is being started is
// logged before its start has said what it wants.
func (r *Row) Log(level slog.Level, name, message string, attrs ...slog.Attr) {
	if r != nil {
		slog.New(r.records(name).WithGroup(attrsKey)).LogAttrs(context.Background(), level, message, attrs...) //nolint:sloglint // the caller's
	}
}

// attrsKey is the key of the attributes in a line.
const attrsKey = "attrs"

// records returns a handler that keeps records about the plugin name as lines of JSON.
func (r *Row) records(name string) slog.Handler {
	return slog.NewJSONHandler(lineWriter{r}, &slog.HandlerOptions{Level: slog.Level(minLevel)}).
		WithAttrs([]slog.Attr{slog.String(logs.PluginKey, name)})
}

// minLevel is below all levels in use.
const minLevel = -1 << 20

// lineWriter gets one line with each Write.
type lineWriter struct{ row *Row }

// errLong is why a line was not kept.
type longError struct{ bytes int }

func (e *longError) Error() string { return "the line has " + strconv.Itoa(e.bytes) + " bytes" }

// Write implements [io.Writer].
func (w lineWriter) Write(line []byte) (int, error) {
	if len(line) > maxLineBytes {
		return 0, &longError{len(line)}
	}
	process.add(w.row, bytes.Clone(line))
	return len(line), nil
}

// tee gives records to two handlers.
type tee struct {
	next slog.Handler
	root slog.Handler // of the line; nil when attributes have been added
	own  slog.Handler // of its attributes
}

var _ slog.Handler = (*tee)(nil)

// Enabled implements [slog.Handler].
func (t *tee) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= keptLevel || t.next.Enabled(ctx, level)
}

// maxMessage bounds the message of a record that is too long, which then has no attributes.
// Quoted, each byte may take six.
const maxMessage = 1 << 10

// Handle implements [slog.Handler].
func (t *tee) Handle(ctx context.Context, record slog.Record) error {
	if err, long := t.own.Handle(ctx, record).(*longError); long { //nolint:errorlint // a handler of this package returns what its writer does
		short := slog.NewRecord(record.Time, record.Level, cut(record.Message, maxMessage), record.PC)
		short.AddAttrs(slog.Int("cut", err.bytes))
		_ = t.own.Handle(ctx, short) // no longer too long
	}
	if !t.next.Enabled(ctx, record.Level) {
		return nil
	}
	return t.next.Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	inner := &tee{next: t.next.WithAttrs(attrs), own: t.own}
	if t.root != nil && len(attrs) == 1 && attrs[0].Key == logs.ProcessKey {
		inner.root = t.root.WithAttrs([]slog.Attr{processAttr(attrs[0])})
		inner.own = inner.root.WithGroup(attrsKey)
		return inner
	}
	inner.own = t.own.WithAttrs(attrs)
	return inner
}

// processAttr returns the attribute of a process's number as a number.
func processAttr(a slog.Attr) slog.Attr {
	if pid, err := strconv.Atoi(a.Value.String()); err == nil {
		return slog.Int(a.Key, pid)
	}
	return a
}

// WithGroup implements [slog.Handler].
func (t *tee) WithGroup(name string) slog.Handler {
	if name == "" {
		return t
	}
	return &tee{next: t.next.WithGroup(name), own: t.own.WithGroup(name)}
}

// cut returns text with at most limit bytes, and a mark if some are missing.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + " [...]"
}
