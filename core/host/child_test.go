package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// dead is a Process that has ended, and left something in the pipe of its standard
// error.
type dead struct {
	Process
	stderr *pipe
}

func (dead) ID() string { return "1" }

func (d dead) Output() (stdout, stderr io.ReadCloser) {
	return io.NopCloser(strings.NewReader("")), d.stderr
}

func (dead) Wait(context.Context) (ExitStatus, error) { return ExitStatus{Code: 3}, nil }

// pipe is what is in a pipe. It ends with that, unless another process holds it.
type pipe struct {
	held   bool
	closed chan struct{} // by Close

	mu   sync.Mutex // guards left
	left bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, os.ErrClosed
	default:
	}
	p.mu.Lock()
	n, err := p.left.Read(b)
	p.mu.Unlock()
	if errors.Is(err, io.EOF) && p.held {
		<-p.closed
		return 0, os.ErrClosed
	}
	return n, err
}

func (p *pipe) Close() error {
	close(p.closed)
	return nil
}

// slowWriter takes so long for each Write.
type slowWriter time.Duration

func (w slowWriter) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(w))
	return len(b), nil
}

// handlerFunc is called with each message.
type handlerFunc func(message string)

func (handlerFunc) Enabled(context.Context, slog.Level) bool { return true }
func (h handlerFunc) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h handlerFunc) WithGroup(string) slog.Handler          { return h }

func (h handlerFunc) Handle(_ context.Context, r slog.Record) error {
	h(r.Message)
	return nil
}

// TestOutputOfTheDead checks that the last output of a process is known within a
// bounded time, whatever the user's log handler does, and whatever process still holds
// the pipe.
func TestOutputOfTheDead(t *testing.T) {
	const many = 30_000 // lines, in more than two reads
	for _, tt := range []struct {
		name    string
		lines   int
		held    bool
		pause   time.Duration // of each write to the user's copy
		delay   time.Duration // of each record; negative if it never ends
		within  time.Duration
		says    string // the log
		stuck   bool   // the user's code
		unknown bool   // and so what came last
		cut     bool   // the log lacks lines
	}{
		{name: "quick", lines: many},
		{name: "a full pipe on a busy machine", lines: 4000, delay: time.Millisecond, within: 4001 * time.Millisecond},
		{name: "slow", lines: many, delay: time.Millisecond, within: drainTimeout + 5*time.Millisecond, says: "the log handler was too slow", cut: true},
		{name: "slow copy", lines: 2 * many, pause: 900 * time.Millisecond, within: drainTimeout + maxHurries*hurryTimeout, says: "the log handler was too slow", cut: true},
		{name: "stuck", lines: many, delay: -1, within: drainTimeout + 2*hurryTimeout, stuck: true, unknown: true, cut: true},
		{name: "held", lines: many, held: true, within: drainTimeout, says: "did not end with the plugin"},
		{name: "held, and slow", lines: 1000, delay: time.Millisecond, held: true, within: drainTimeout + 5*time.Millisecond, says: "did not end with the plugin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pipe{held: tt.held, closed: make(chan struct{})}
				for i := range tt.lines {
					fmt.Fprintln(&p.left, "line", i)
				}
				p.left.WriteString("panic: the last words\n")
				released := make(chan struct{})
				var mu sync.Mutex // guards log
				var log []string
				logger := slog.New(handlerFunc(func(message string) {
					if tt.delay < 0 {
						<-released
					}
					time.Sleep(tt.delay)
					mu.Lock()
					defer mu.Unlock()
					log = append(log, message)
				}))
				began := time.Now()
				c := newChild(&config{name: "name", logger: logger, stderr: slowWriter(tt.pause), trace: newTracer(nil, "")}, dead{stderr: p}, "command", "")
				<-c.gone.Done()
				if took := time.Since(began); took > tt.within {
					t.Errorf("it took %v, want at most %v", took, tt.within)
				}
				if got := errors.Is(c.waitErr, errOutputStuck); got != tt.stuck {
					t.Errorf("the error is %v, want one of the user's code: %t", c.waitErr, tt.stuck)
				}
				if text, _, ok := c.stderr.Panic(); !tt.unknown && (!ok || text != "the last words" || !strings.HasSuffix(c.stderr.Tail(), text)) {
					t.Errorf("panic %q, tail %q", text, c.stderr.Tail())
				}
				close(released)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				all := strings.Join(log, "\n")
				if !strings.Contains(all, "panic: the last words") && !tt.unknown || !strings.Contains(all, tt.says) {
					t.Errorf("the log ends with %q, want %q in it", log[max(0, len(log)-3):], tt.says)
				}
				if complete := len(log) > tt.lines; complete == tt.cut {
					t.Errorf("%d records of %d lines", len(log), tt.lines)
				}
			})
		})
	}
}
