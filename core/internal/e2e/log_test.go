//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// testLogger writes to the test's output.
func testLogger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// record is a log record in the form for tests.
type record struct {
	Level   slog.Level
	Time    time.Time
	Message string
	Attrs   map[string]any
}

// journal is a slog.Handler that keeps its records.
type journal struct {
	level slog.Level
	next  slog.Handler // the test's output
	attrs []slog.Attr
	book  *book
}

type book struct {
	mu      sync.Mutex // guards records
	records []record
	added   chan struct{} // has room for one: something was added
}

// newJournal returns a logger whose records a test can check.
func newJournal(tb testing.TB, level slog.Level) (*slog.Logger, *book) {
	tb.Helper()
	b := &book{added: make(chan struct{}, 1)}
	return slog.New(&journal{level: level, next: testLogger(tb).Handler(), book: b}), b
}

func (j *journal) Enabled(_ context.Context, level slog.Level) bool { return level >= j.level }

func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	k := *j
	k.next = j.next.WithAttrs(attrs)
	k.attrs = append(slices.Clip(j.attrs), attrs...)
	return &k
}

func (j *journal) WithGroup(string) slog.Handler { return j } // no test uses groups

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	kept := record{Level: r.Level, Time: r.Time, Message: r.Message, Attrs: map[string]any{}}
	keep := func(a slog.Attr) bool {
		kept.Attrs[a.Key] = a.Value.Resolve().Any()
		return true
	}
	for _, a := range j.attrs {
		keep(a)
	}
	r.Attrs(keep)
	j.book.mu.Lock()
	j.book.records = append(j.book.records, kept)
	j.book.mu.Unlock()
	select {
	case j.book.added <- struct{}{}:
	default:
	}
	return j.next.Handle(ctx, r)
}

// find returns the first record with the message.
func (b *book) find(message string) (record, bool) { return b.findBy(message, "", "") }

// findBy returns the first record with the message and, unless key is empty,
// that attribute.
func (b *book) findBy(message, key, value string) (record, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		if r.Message == message && (key == "" || r.text(key) == value) {
			return r, true
		}
	}
	return record{}, false
}

// await waits for a record with the message. One test at a time may wait.
func (b *book) await(tb testing.TB, message string) record {
	tb.Helper()
	for {
		if r, ok := b.find(message); ok {
			return r
		}
		waitFor(tb, "log record "+message, b.added)
	}
}

// attrs returns the values of one attribute in all records with the message.
func (b *book) attrs(message, key string) []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	var values []any
	for _, r := range b.records {
		if r.Message == message {
			values = append(values, r.Attrs[key])
		}
	}
	return values
}

// text returns an attribute as text, empty if it is not there.
func (r record) text(key string) string {
	value, ok := r.Attrs[key]
	if !ok {
		return ""
	}
	return fmt.Sprint(value)
}

// counter is a slog.Handler that counts the letters of all messages.
type counter struct {
	mu     sync.Mutex // guards counts
	counts [256]int
}

func (c *counter) Enabled(context.Context, slog.Level) bool { return true }
func (c *counter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *counter) WithGroup(string) slog.Handler            { return c }

func (c *counter) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, letter := range []byte(r.Message) {
		c.counts[letter]++
	}
	return nil
}

func (c *counter) letters() map[byte]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[byte]int{}
	for letter, n := range c.counts {
		if n > 0 {
			found[byte(letter)] = n
		}
	}
	return found
}
