package logs_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/internal/logs"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(crashVariable); how != "" {
		crash(how)
	}
	goleak.VerifyTestMain(m)
}

// recorder is a handler that keeps its records.
type recorder struct {
	level slog.Level // lowest enabled level

	mu      sync.Mutex
	records []slog.Record
}

func newRecorder() *recorder { return &recorder{level: -1000} }

func (r *recorder) Enabled(_ context.Context, l slog.Level) bool { return l >= r.level }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, record)
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { panic("not used by a Collector") }
func (r *recorder) WithGroup(string) slog.Handler      { panic("not used by a Collector") }

func (r *recorder) all() []slog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]slog.Record(nil), r.records...)
}

// shown renders the records without their times, one a line.
func (r *recorder) shown() []string {
	var lines []string
	for _, record := range r.all() {
		lines = append(lines, show(record))
	}
	return lines
}

func show(record slog.Record) string {
	return strings.Join(append([]string{record.Level.String() + " " + record.Message}, fields(record)...), " | ")
}

// fields renders attributes as key=value, with the kind of value where it is not
// a string.
func fields(record slog.Record) []string {
	var all []string
	record.Attrs(func(a slog.Attr) bool {
		all = append(all, field(a))
		return true
	})
	return all
}

func field(a slog.Attr) string {
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		return a.Key + "=" + v.String()
	case slog.KindGroup:
		var inner []string
		for _, b := range v.Group() {
			inner = append(inner, field(b))
		}
		return a.Key + "={" + strings.Join(inner, " ") + "}"
	case slog.KindAny:
		return fmt.Sprintf("%s=%T(%s)", a.Key, v.Any(), v.String())
	default:
		return fmt.Sprintf("%s=%s(%s)", a.Key, v.Kind(), v.String())
	}
}

// collect runs a Collector named stderr over r.
func collect(t *testing.T, r io.Reader) (*logs.Collector, *recorder) {
	t.Helper()
	rec := newRecorder()
	c := logs.NewCollector(slog.New(rec), logs.CollectorConfig{Stream: "stderr"})
	if err := c.Run(r); err != nil {
		t.Errorf("Run: %v", err)
	}
	return c, rec
}

func date(nanos int) time.Time { return time.Date(2026, 2, 3, 4, 5, 6, nanos, time.UTC) }

func newCollector(h slog.Handler) *logs.Collector {
	return logs.NewCollector(slog.New(h), logs.CollectorConfig{Stream: "stderr"})
}

// handlerFunc is a handler with every level enabled.
type handlerFunc func(slog.Record)

func (handlerFunc) Enabled(context.Context, slog.Level) bool { return true }
func (f handlerFunc) Handle(_ context.Context, record slog.Record) error {
	f(record)
	return nil
}
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f handlerFunc) WithGroup(string) slog.Handler      { return f }
