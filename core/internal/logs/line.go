package logs

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// plainLevel is the level of a line that names none, on either stream: slog gives
// the standard log package's output this level. A program writes plain text to
// stderr so that people see it, so debug would be too low.
const plainLevel = slog.LevelInfo

// entry has the contents of one line.
type entry struct {
	// structured is true for a line of a logger and false for plain text.
	structured bool
	level      slog.Level
	time       time.Time // zero if the line has none
	message    string
	attrs      []slog.Attr // memory of the parser, valid until it parses the next line

	taken [textRole + 1]bool
}

// claim sets the part of the entry that is the field's role. It reports false if the
// value does not fit, or if an earlier field has the role already: a logger's own field
// stands before a user's field of the same name. Then the field is an ordinary field.
func (e *entry) claim(r role, key, value string) bool {
	if e.taken[r] {
		return false
	}
	ok := true
	switch r {
	case levelRole:
		var level slog.Level
		if level, ok = writtenLevel(value); !ok {
			level, ok = numericLevel(key, value, false)
		}
		if ok {
			e.level = level
		}
	case timeRole:
		e.time, ok = writtenTime(value)
	case messageRole:
		e.message = value
	default:
		return false
	}
	e.taken[r] = ok
	return ok
}

// parser turns lines into entries. Its buffers are reused from line to line, so
// it is not safe for concurrent use.
type parser struct {
	// enabled is called before the costly part of a line is read.
	enabled func(slog.Level) bool

	fields    []field
	attrs     []slog.Attr
	colorless []byte
}

// keepFields is the number of fields up to which the buffers are kept: more than
// loggers write, in little memory.
const keepFields = 1024

// parse reads one line without its line end. A line of no known logger is plain
// text, and the entry's message has all of it. parse reports false for an entry
// whose level is not enabled, and does not set its message and attrs.
func (p *parser) parse(line []byte) (entry, bool) {
	if cap(p.fields) > keepFields || cap(p.attrs) > keepFields {
		p.fields, p.attrs = nil, nil
	}
	if cap(p.colorless) > keepBuffer {
		p.colorless = nil
	}
	if e, ok, wanted := p.parseJSON(line); ok {
		return e, wanted
	}
	if e, ok := p.parseLogfmt(line); ok {
		return e, p.enabled(e.level)
	}
	if e, ok := p.parseText(line); ok {
		return e, p.enabled(e.level)
	}
	if bytes.IndexByte(line[:min(len(line), maxHeader)], escape) >= 0 {
		// Some loggers write colours to anything. Without the colours, their lines
		// have a known form, or are quoted like any other.
		p.colorless = appendColorless(p.colorless[:0], line)
		if e, ok := p.parseText(p.colorless); ok {
			return e, p.enabled(e.level)
		}
	}
	if !p.enabled(plainLevel) {
		return entry{level: plainLevel}, false
	}
	return entry{level: plainLevel, message: printable(string(line))}, true
}

// parseLogfmt reads key=value pairs with Go's quoting, as slog.TextHandler, logrus,
// log15 and go-kit write them. The line must fit the form to its end, and have a
// level and a message, or a level and a time and another field. Values stay strings:
// the form does not tell 1 from "1".
func (p *parser) parseLogfmt(line []byte) (entry, bool) {
	if len(line) == 0 || !isLetter(line[0]) && line[0] != '@' && line[0] != '_' {
		return entry{}, false
	}
	if i := bytes.IndexAny(line[:min(len(line), maxHeader)], "= \""); i < 0 || line[i] != '=' {
		return entry{}, false
	}
	e := entry{level: plainLevel, structured: true}
	if !p.pairs(string(line), func(key, value string) {
		r := roleOf(key)
		if r == textRole && key == "event" {
			r = messageRole
		}
		if r == noRole && key == "at" { // the key of logfmter
			r = levelRole
		}
		if value = printable(value); !e.claim(r, key, value) {
			p.attrs = append(p.attrs, slog.String(fieldKey(key), value))
		}
	}) {
		return entry{}, false
	}
	e.attrs = p.attrs
	return e, e.taken[levelRole] && (e.taken[messageRole] || e.taken[timeRole] && len(e.attrs) > 0)
}

// pairs calls add for each key=value pair in s. It reports whether s has nothing
// else. It empties p.attrs first.
func (p *parser) pairs(s string, add func(key, value string)) bool {
	p.attrs = p.attrs[:0]
	for ; s != ""; s = strings.TrimLeft(s, " ") {
		var key, value string
		var ok bool
		if key, s, ok = logfmtToken(s, " =\""); !ok || key == "" || !strings.HasPrefix(s, "=") {
			return false
		}
		if value, s, ok = logfmtToken(s[1:], " \""); !ok || s != "" && s[0] != ' ' {
			return false
		}
		add(key, value)
	}
	return true
}

// logfmtToken cuts a quoted token, or a bare one that ends before any of the
// bytes in end, from the front of s.
func logfmtToken(s, end string) (token, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, end)
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], true
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", s, false
	}
	token, err = strconv.Unquote(quoted)
	return token, s[len(quoted):], err == nil
}
