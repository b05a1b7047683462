// Package logs carries log lines both ways. It makes records of the host's logger from
// what a plugin writes to stderr and stdout. It also writes the form that a host
// understands.
//
// A host runs one [Collector] for each stream. Hosts and plugins without a
// logger use [Default]. The [slog.Handler] decides where a record goes, not this
// package.
package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// readSize is how many bytes one read asks for: a full pipe on Linux.
	readSize = 64 << 10
	// maxPiece bounds how much of a line, and of a panic, is held in memory, so that
	// a plugin that never ends its line cannot exhaust it. A longer line or panic
	// comes in pieces.
	maxPiece = 1 << 20
	// keepBuffer is the size up to which the buffer of an unfinished line is kept
	// for the next one.
	keepBuffer = 64 << 10
)

// The attributes that a Collector adds.
const (
	// streamKey names the stream that a line of plain text came from.
	streamKey = "stream"
	// stackKey has the part of a panic that follows its message.
	stackKey = "stack"
	// pieceKey and lastKey number the records of a line or a panic that is too
	// long for one record: the piece's number from 1, and whether it is the
	// last.
	pieceKey = "piece"
	lastKey  = "last"
)

// CollectorConfig configures a [Collector].
type CollectorConfig struct {
	// Stream names the stream, "stderr" or "stdout". It becomes the attribute
	// "stream" of plain lines and is part of error messages.
	Stream string
	// Copy, if set, gets every byte as it was read, before any of it is logged.
	// Only Run writes to it, and nothing closes it. The Collector logs its first
	// error as a warning and then stops copying, but not reading.
	Copy io.Writer
}

// Collector turns one stream of a plugin into log records.
//
// Each line becomes one record. A line that zerolog, slog, zap, hclog or logrus
// wrote, as a JSON object or in the form of [slog.TextHandler], keeps its level,
// time, message and fields; "[LEVEL] text", also after a timestamp, keeps its
// level and time. Any other line is plain text: a record at info with the whole
// line as its message and the attribute "stream".
//
// What the Go runtime prints when it ends the process becomes one record at error:
// its message, and the rest as the attribute "stack".
//
// No line is lost or cut. A line above 1 MiB comes in pieces, which are plain
// text with the attributes "piece" and "last". Only empty lines make no record.
// Text with control characters or invalid UTF-8, which could harm a terminal, is
// quoted as by [strconv.Quote].
//
// Run's goroutine calls the logger's handler, so a slow handler slows the plugin
// down, and loses no lines, until [Collector.Hurry]. A panic in the handler
// loses that record; the Collector reports the first one to the handler. Errors
// of the handler are ignored, as [slog.Logger] does.
type Collector struct {
	logger   *slog.Logger
	cfg      CollectorConfig
	maxPiece int // the constant maxPiece, except in tests that need short pieces

	// Only Run's goroutine uses these fields.
	parser  parser
	partial []byte // the line so far, without a line end
	pieces  int    // pieces of this line that were delivered already
	failed  bool   // a panic of the handler has been reported
	skipped int    // records that were not logged after Hurry

	waiting atomic.Bool  // Run waits for more to read
	reads   atomic.Int64 // reads that have returned
	hurried atomic.Bool

	mu        sync.Mutex // guards the fields below
	tail      tail
	block     panicBlock
	lastPanic string // the first piece of the last finished block
}

// NewCollector returns a Collector that writes to logger, which must not be nil.
func NewCollector(logger *slog.Logger, cfg CollectorConfig) *Collector {
	c := &Collector{logger: logger, cfg: cfg, maxPiece: maxPiece}
	c.parser.enabled = c.enabled
	return c
}

// Run reads r to its end and then returns nil. A closed reader counts as ended.
// Run returns any other error, after it has logged everything that came before.
// Call Run once. It ends early when r is closed.
//
// If r has SetReadDeadline, Run sets deadlines, to deliver a panic that no line
// follows. Without SetReadDeadline, Run delivers such a panic with the next line or
// at the end.
func (c *Collector) Run(r io.Reader) error {
	defer c.waiting.Store(true)
	defer c.flush()
	timer, _ := r.(interface{ SetReadDeadline(t time.Time) error })
	armed := false
	buf := make([]byte, readSize)
	for {
		deadline := c.deadline()
		if timer != nil && (armed || !deadline.IsZero()) {
			// A file without deadlines returns an error, which changes nothing. So
			// does a closed file, and Read then reports that.
			err := timer.SetReadDeadline(deadline)
			armed = err == nil && !deadline.IsZero()
		}
		c.waiting.Store(true)
		n, err := r.Read(buf)
		c.waiting.Store(false)
		c.reads.Add(1)
		c.write(buf[:n])
		switch {
		case err == nil:
		case armed && errors.Is(err, os.ErrDeadlineExceeded):
			c.endPanic()
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed),
			errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
			return nil
		default:
			return fmt.Errorf("read %s: %w", c.cfg.Stream, err)
		}
	}
}

// Waiting reports whether everything that Run has read is logged. It may be called
// at any time, from any goroutine.
func (c *Collector) Waiting() bool { return c.waiting.Load() }

// Reads returns how often Run has read. It may be called at any time, from any goroutine.
func (c *Collector) Reads() int64 { return c.reads.Load() }

// Hurry is for a stream whose writer has ended and whose handler is slow. Run then
// reads the rest at once, so that Tail and Panic know the end of the stream. It logs
// only the crash at the end, if there is one, and a record that says that others are
// missing. Hurry may be called at any time, from any goroutine.
func (c *Collector) Hurry() { c.hurried.Store(true) }

// Tail returns the end of the stream for an error message: the last 20 lines, at most 8
// KiB. The text is safe to print and has no final line end. Tail may be called at any
// time, from any goroutine.
func (c *Collector) Tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tail.String()
}

// Panic returns what the Go runtime printed last when it ended the process: the
// message and the rest. The message is without "panic: " or "fatal error: ", for
// example "runtime error: index out of range [3] with length 2". The rest is
// mostly goroutine traces and may be empty. Very long texts are cut, and say so.
// Panic reports false if there was none.
//
// A running program can print the same text. The text tells how the process ended
// only if the exit code is 2 or an abort signal ended the process. Panic may be
// called at any time, from any goroutine.
func (c *Collector) Panic() (text, stack string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	block := c.lastPanic
	if c.block.open() && c.block.piece == 1 {
		block = string(c.block.text)
	}
	if block == "" {
		return "", "", false
	}
	text, stack = splitPanic(block)
	text, stack = panicText(text), strings.TrimRight(stack, "\n")
	return printable(shortened(text, maxPanicText)), printable(shortened(stack, maxPanicStack)), true
}

// write handles the bytes of one read.
func (c *Collector) write(chunk []byte) {
	if len(chunk) == 0 {
		return
	}
	c.copy(chunk)
	c.mu.Lock()
	c.tail.write(chunk)
	c.mu.Unlock()
	if deadline := c.deadline(); !deadline.IsZero() && time.Now().After(deadline) {
		c.endPanic()
	}
	for len(chunk) > 0 {
		text, rest, complete := bytes.Cut(chunk, []byte{'\n'})
		chunk = rest
		if complete && len(c.partial) == 0 && c.pieces == 0 && len(text) <= c.maxPiece {
			c.line(bytes.TrimSuffix(text, []byte{'\r'}))
			continue
		}
		c.partial = append(c.partial, text...)
		for len(c.partial) > c.maxPiece {
			n := wholeRunes(c.partial[:c.maxPiece])
			c.pieces++
			c.piece(c.partial[:n], false)
			c.partial = append(c.partial[:0], c.partial[n:]...)
		}
		if complete {
			c.partial = bytes.TrimSuffix(c.partial, []byte{'\r'})
			c.endLine()
		}
	}
}

// endLine delivers the unfinished line, or the last piece of it.
func (c *Collector) endLine() {
	if c.pieces > 0 {
		c.pieces++
		c.piece(c.partial, true)
	} else {
		c.line(c.partial)
	}
	c.pieces = 0
	c.partial = c.partial[:0]
	if cap(c.partial) > keepBuffer {
		c.partial = nil
	}
}

// flush delivers what is pending at the end of the stream.
func (c *Collector) flush() {
	if len(c.partial) > 0 || c.pieces > 0 {
		c.endLine()
	}
	c.hurried.Store(false) // the crash and the number of missing records are logged even after Hurry
	c.endPanic()
	if c.skipped > 0 && c.enabled(slog.LevelWarn) {
		record := slog.NewRecord(time.Now(), slog.LevelWarn, "the last records of the plugin are not logged, because the log handler was too slow", 0)
		record.AddAttrs(slog.String(streamKey, c.cfg.Stream), slog.Int("records", c.skipped))
		c.handle(record)
	}
}

// line delivers one whole line without its line end.
func (c *Collector) line(text []byte) {
	inPanic := c.block.open()
	if startsPanic(text, inPanic) {
		c.endPanic()
		c.addToPanic(text, true)
		return
	}
	if len(text) == 0 && !inPanic {
		return
	}
	e, wanted := c.parser.parse(text)
	if inPanic {
		if !e.structured {
			c.addToPanic(text, true)
			return
		}
		c.endPanic()
	}
	if !wanted {
		return
	}
	if e.time.IsZero() {
		e.time = time.Now()
	}
	record := slog.NewRecord(e.time, e.level, e.message, 0)
	record.AddAttrs(e.attrs...)
	if !e.structured {
		record.AddAttrs(slog.String(streamKey, c.cfg.Stream))
	}
	c.handle(record)
}

// piece delivers the next part of a line that is too long for one record.
func (c *Collector) piece(text []byte, last bool) {
	if c.pieces == 1 && startsPanic(text, c.block.open()) {
		c.endPanic()
		c.addToPanic(text, last)
		return
	}
	if c.block.open() {
		c.addToPanic(text, last)
		return
	}
	if c.enabled(plainLevel) {
		record := slog.NewRecord(time.Now(), plainLevel, printable(string(text)), 0)
		record.AddAttrs(slog.String(streamKey, c.cfg.Stream), slog.Int(pieceKey, c.pieces), slog.Bool(lastKey, last))
		c.handle(record)
	}
}

// copy writes a chunk to the copy, until a write fails.
func (c *Collector) copy(chunk []byte) {
	if c.cfg.Copy == nil {
		return
	}
	n, err := c.cfg.Copy.Write(chunk)
	if err == nil && n < len(chunk) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return
	}
	c.cfg.Copy = nil
	if c.enabled(slog.LevelWarn) {
		record := slog.NewRecord(time.Now(), slog.LevelWarn, "no longer copying the output of the plugin", 0)
		record.AddAttrs(slog.String(streamKey, c.cfg.Stream), slog.Any("error", err))
		c.handle(record)
	}
}

func (c *Collector) enabled(level slog.Level) (ok bool) {
	if c.hurried.Load() {
		return true // as far as the Collector knows
	}
	defer c.recoverHandler()
	return c.logger.Enabled(context.Background(), level)
}

func (c *Collector) handle(record slog.Record) {
	if c.hurried.Load() {
		c.skipped++
		return
	}
	defer c.recoverHandler()
	// Ignore the handler's error, as slog.Logger does.
	_ = c.logger.Handler().Handle(context.Background(), record)
}

// recoverHandler keeps a bug in the user's handler from ending the host: an
// unusual line of a plugin may be the first to reach that bug. Defer it.
func (c *Collector) recoverHandler() {
	cause := recover()
	if cause == nil || c.failed {
		return
	}
	c.failed = true
	record := slog.NewRecord(time.Now(), slog.LevelError, "the log handler panicked; at least one record of the plugin is lost", 0)
	record.AddAttrs(slog.String(streamKey, c.cfg.Stream), slog.Any("panic", cause))
	c.handle(record)
}

// wholeRunes returns how many bytes of b end with a whole character.
func wholeRunes(b []byte) int {
	for n := len(b); n > len(b)-utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n-1]) {
			if utf8.FullRune(b[n-1:]) {
				return len(b)
			}
			return n - 1
		}
	}
	return len(b)
}
