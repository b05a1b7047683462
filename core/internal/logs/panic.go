package logs

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// A crash is printed in one burst and followed by the end of the stream. A living
// program that prints the same words must not have its later lines held back:
// its block ends when nothing has followed for panicIdle, and in any case
// panicLongest after it began, which leaves a slow machine time to print a long
// one.
const (
	panicIdle    = time.Second
	panicLongest = 10 * time.Second
)

// What is remembered of a panic for error messages; the log has all of it.
const (
	maxPanicText  = 4 << 10
	maxPanicStack = 64 << 10
)

// What the Go runtime begins with when it ends the process. Of the signals only
// those are named that it prints a trace for, so that "SIGTERM: stopping" stays
// plain text.
var (
	panicStarts  = [...]string{"panic: ", "fatal error: "}
	signalStarts = [...]string{
		"[signal SIG", "SIGABRT: ", "SIGBUS: ", "SIGFPE: ", "SIGILL: ", "SIGQUIT: ", "SIGSEGV: ", "SIGSYS: ", "SIGTRAP: ",
	}
)

// startsPanic reports whether line begins a block. Within one, a signal is one
// more line of it.
func startsPanic(line []byte, within bool) bool {
	begins := func(start string) bool { return bytes.HasPrefix(line, []byte(start)) }
	return slices.ContainsFunc(panicStarts[:], begins) || !within && slices.ContainsFunc(signalStarts[:], begins)
}

// panicBlock collects the lines of a panic. It is open when it holds any.
type panicBlock struct {
	text  []byte    // the lines so far with their line ends; of a later piece, its own
	head  string    // the message, known from piece 2 on
	piece int       // counts from 1
	began time.Time // when the first line came
	last  time.Time // when the last line came
}

func (b *panicBlock) open() bool { return len(b.text) > 0 }

// deadline is when an open block ends if nothing follows.
func (b *panicBlock) deadline() time.Time {
	idle, longest := b.last.Add(panicIdle), b.began.Add(panicLongest)
	if longest.Before(idle) {
		return longest
	}
	return idle
}

// deadline is when a pending panic has to be delivered, zero when there is none.
func (c *Collector) deadline() time.Time {
	if !c.block.open() { // Run's goroutine is the only one that writes to it
		return time.Time{}
	}
	return c.block.deadline()
}

// addToPanic adds a line, or a part of one, to the pending panic, or begins one.
func (c *Collector) addToPanic(text []byte, ended bool) {
	if c.block.open() && len(c.block.text)+len(text) > c.maxPiece {
		c.deliverPanic(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &c.block
	b.last = time.Now()
	if b.piece == 0 {
		b.began, b.piece = b.last, 1
	}
	b.text = append(b.text, text...)
	if ended {
		b.text = append(b.text, '\n')
	}
}

// endPanic delivers the pending panic, if there is one.
func (c *Collector) endPanic() {
	if !c.block.open() {
		return
	}
	c.deliverPanic(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.block = panicBlock{}
}

// deliverPanic makes a record of what the block holds and empties it.
func (c *Collector) deliverPanic(last bool) {
	c.mu.Lock()
	b := &c.block
	text, piece := string(b.text), b.piece
	stack := text
	if piece == 1 {
		c.lastPanic = text
		b.head, stack = splitPanic(text)
	}
	head := b.head
	b.text = b.text[:0]
	b.piece++
	c.mu.Unlock()

	if !c.enabled(slog.LevelError) {
		return
	}
	record := slog.NewRecord(time.Now(), slog.LevelError, printable(head), 0)
	if last {
		stack = strings.TrimRight(stack, "\n")
	}
	if stack != "" {
		record.AddAttrs(slog.String(stackKey, printable(stack)))
	}
	if piece > 1 || !last {
		record.AddAttrs(slog.Int(pieceKey, piece), slog.Bool(lastKey, last))
	}
	c.handle(record)
}

// splitPanic cuts a block into its message, as the runtime printed it, and what
// follows. Lines of the message after the first one start with a tab; a panic
// during a panic is one of them.
func splitPanic(block string) (message, stack string) {
	message, stack, _ = strings.Cut(block, "\n")
	for strings.HasPrefix(stack, "\t") {
		line, rest, _ := strings.Cut(stack, "\n")
		message, stack = block[:len(message)+len("\n")+len(line)], rest
	}
	return message, strings.TrimLeft(stack, "\n")
}

// panicText strips from a message what it has in common with others.
func panicText(message string) string {
	for _, start := range panicStarts {
		if text, ok := strings.CutPrefix(message, start); ok {
			return text
		}
	}
	return message
}

// shortened cuts s after about limit bytes and says so.
func shortened(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:wholeRunes([]byte(s[:limit]))] + "... (cut; the log has all of it)"
}
