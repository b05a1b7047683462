// Package output is what every command of plugwire prints: text for people or JSON, its
// errors, and the codes with which it exits.
package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"

	"github.com/mattn/go-isatty"
)

// The exit codes. They are documented in docs/command.md.
const (
	ExitOK          = 0
	ExitFailed      = 1   // the plugin answered with an error, or something is wrong with it
	ExitUsage       = 2   // the command line is wrong
	ExitStart       = 3   // the plugin did not start, or could not be reached
	ExitLost        = 4   // the plugin ended while it was used
	ExitInterrupted = 130 // Ctrl-C, SIGTERM or SIGHUP
)

// Error is an error with the code with which the program exits.
type Error struct {
	Code int
	Err  error
	// Details are the fields of the error's JSON object beside its message; may be nil.
	Details map[string]any
	// Printed is set if the command has already said what is wrong.
	Printed bool
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Usage returns an error of the command line.
func Usage(format string, args ...any) error {
	return &Error{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// Found returns the error of a command that has printed what it found, and found
// something wrong.
func Found(what string) error {
	return &Error{Code: ExitFailed, Err: errors.New(what), Printed: true}
}

// Printer prints results on standard output, and notes on standard error. Its methods
// may be called at the same time.
type Printer struct {
	// JSON is set for JSON in place of text.
	JSON bool

	mu       sync.Mutex // guards the writers
	out, err io.Writer
	terminal bool // standard output is a terminal
	errTerm  bool // standard error is a terminal
	color    bool
	progress bool // a line of progress is shown
}

// New returns a printer on the files of a process.
func New(out, err *os.File) *Printer {
	p := &Printer{out: out, err: err, terminal: isTerminal(out), errTerm: isTerminal(err)}
	// Programs agree on these two variables: no-color.org, and terminals without escapes.
	p.color = p.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return p
}

func isTerminal(f *os.File) bool {
	return isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd())
}

// Terminal reports whether results go to a person's terminal.
func (p *Printer) Terminal() bool { return p.terminal && !p.JSON }

// Text prints text for people. A terminal gets no control characters, because the text
// may hold what a plugin said.
func (p *Printer) Text(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		text = Safe(text)
	}
	return p.write(text)
}

// Textf prints formatted text for people.
func (p *Printer) Textf(format string, args ...any) error {
	return p.Text(fmt.Sprintf(format, args...))
}

// Object prints a value as JSON: indented on a terminal, and else on one line, for
// programs that read line by line.
func (p *Printer) Object(v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if p.terminal {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(v); err != nil {
		return err
	}
	text := b.String()
	if p.terminal {
		text = escaped(text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(text)
}

// escaped returns JSON with escapes for the characters that JSON may have as they are, and
// that can control a terminal. Such characters are in strings only.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// write is called with the mutex.
func (p *Printer) write(text string) error {
	p.clear()
	if _, err := io.WriteString(p.out, text); err != nil {
		return &writeError{err}
	}
	return nil
}

// writeError is an error of standard output, such as a pipe that nobody reads.
type writeError struct{ err error }

func (e *writeError) Error() string { return "standard output: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// Note prints a line for people on standard error.
func (p *Printer) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if p.errTerm {
		text = Safe(text)
	}
	p.clear()
	// There is no other place to say that standard error cannot be written.
	_, _ = io.WriteString(p.err, "plugwire: "+strings.TrimRight(text, "\n")+"\n")
}

// Progress shows a line on a terminal until something else is printed. An empty line only
// removes the last one.
func (p *Printer) Progress(format string, args ...any) {
	if !p.errTerm {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	if text := Safe(fmt.Sprintf(format, args...)); text != "" {
		_, _ = io.WriteString(p.err, text) // progress is no result
		p.progress = true
	}
}

// clear removes the line of progress. It is called with the mutex.
func (p *Printer) clear() {
	if p.progress {
		p.progress = false
		_, _ = io.WriteString(p.err, "\r\x1b[K") // to the begin of the line, and erase it
	}
}

// The colors of text, which a printer leaves out where they would be noise.
const (
	red   = "31"
	green = "32"
	bold  = "1"
)

// Good marks what is right. The text that has such words is for [Printer.Marked].
func (p *Printer) Good(s string) string { return p.paint(green, s) }

// Bad marks what is wrong.
func (p *Printer) Bad(s string) string { return p.paint(red, s) }

// Bold marks a heading.
func (p *Printer) Bold(s string) string { return p.paint(bold, s) }

func (p *Printer) paint(code, s string) string {
	if !p.color {
		return s
	}
	return "\x1b[" + code + "m" + Safe(s) + "\x1b[0m"
}

// Marked prints text whose parts were marked with a color. The caller has made the rest
// of the text safe.
func (p *Printer) Marked(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(text)
}

// Safe returns text without control characters, except line ends and tabs.
func Safe(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// IsWrite reports whether err is an error of standard output.
func IsWrite(err error) bool {
	_, ok := errors.AsType[*writeError](err)
	return ok
}
