package logs

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// A crash is printed in one burst and followed by the end of the stream. A
// running program may print the same words, and its later lines must not be held
// back. So a block ends when no line has followed for panicIdle, and in any case
// panicLongest after it began, which leaves a slow machine time to print a long
// panic.
const (
	panicIdle    = time.Second
	panicLongest = 10 * time.Second
)

// These limits bound what the Collector keeps of a panic for error messages.
// The log has all of it.
const (
	maxPanicText  = 4 << 10
	maxPanicStack = 64 << 10
)

// The Go runtime begins its text with one of these when it ends the process.
// The list has only the signals for which it prints a trace, so that "SIGTERM:
// stopping" stays plain text.
var (
	panicStarts  = [...]string{"panic: ", "fatal error: "}
	signalStarts = [...]string{
		"[signal SIG", "SIGABRT: ", "SIGBUS: ", "SIGFPE: ", "SIGILL: ", "SIGQUIT: ", "SIGSEGV: ", "SIGSYS: ", "SIGTRAP: ",
	}
)

// startsPanic reports whether line begins a block. Within a block, the name of
// a signal is an ordinary line.
func startsPanic(line []byte, within bool) bool {
	begins := func(start string) bool { return bytes.HasPrefix(line, []byte(start)) }
	return slices.ContainsFunc(panicStarts[:], begins) || !within && slices.ContainsFunc(signalStarts[:], begins)
}

// panicBlock collects the lines of a panic. It is open when it has lines.
type panicBlock struct {
	text  []byte    // the lines so far with their line ends; in a later piece, the lines of that piece
	head  string    // the message, known from piece 2 on
	piece int       // counts from 1
	began time.Time // when the first line came
	last  time.Time // when the latest line came
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

// addToPanic adds a line, or a part of a line, to the pending panic. It begins a
// panic if none is pending.
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

// deliverPanic makes a record of the block's lines and empties the block.
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
// follows. Later lines of the message start with a tab; one of them may be a
// panic during a panic.
func splitPanic(block string) (message, stack string) {
	message, stack, _ = strings.Cut(block, "\n")
	for strings.HasPrefix(stack, "\t") {
		line, rest, _ := strings.Cut(stack, "\n")
		message, stack = block[:len(message)+len("\n")+len(line)], rest
	}
	return message, strings.TrimLeft(stack, "\n")
}

// panicText strips the words from a message that all panics have.
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
