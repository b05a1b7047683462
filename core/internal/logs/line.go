package logs

import (
	"bytes"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// plainLevel is the level of a line that names none, on either stream: what the
// standard log package's output becomes in slog. A program that writes plain text
// to stderr means it to be seen, so it is not hidden at debug.
const plainLevel = slog.LevelInfo

// entry is what one line says.
type entry struct {
	// structured tells a line that some logger wrote from plain text.
	structured bool
	level      slog.Level
	time       time.Time // zero when the line does not say
	message    string
	attrs      []slog.Attr // the parser's, valid until it parses the next line

	taken [messageRole + 1]bool
}

// role is a part of a record that has a place of its own.
type role int

const (
	noRole role = iota
	levelRole
	timeRole
	messageRole
)

// roleOf knows the keys of zerolog, slog, zap, hclog and logrus.
func roleOf(key string) role {
	switch key {
	case "level", "@level":
		return levelRole
	case "time", "ts", "timestamp", "@timestamp":
		return timeRole
	case "message", "msg", "@message":
		return messageRole
	default:
		return noRole
	}
}

// claim lets a field play its role. It reports false when the role is taken, as
// by a logger's own field before a user's field of the same name, or the value
// does not fit: then the field is a field like any other.
func (e *entry) claim(r role, value string) bool {
	if e.taken[r] {
		return false
	}
	ok := true
	switch r {
	case noRole:
		return false
	case levelRole:
		var level slog.Level
		if level, ok = writtenLevel(value); ok {
			e.level = level
		}
	case timeRole:
		e.time, ok = writtenTime(value)
	case messageRole:
		e.message = value
	}
	e.taken[r] = ok
	return ok
}

// parser turns lines into entries. Its buffers are reused from line to line, so
// it is not safe for concurrent use.
type parser struct {
	// enabled is asked before the costly part of a line is read.
	enabled func(slog.Level) bool

	fields []field
	attrs  []slog.Attr
}

// keepFields is the number of fields up to which the buffers are kept: more than
// loggers write, and little memory.
const keepFields = 1024

// parse reads one line without its line end. A line that no known logger wrote
// is plain text, and whole in the entry's message. It reports false for an entry
// whose level is not enabled; that entry's message and attrs are not set.
func (p *parser) parse(line []byte) (entry, bool) {
	if cap(p.fields) > keepFields || cap(p.attrs) > keepFields {
		p.fields, p.attrs = nil, nil
	}
	if e, ok, wanted := p.parseJSON(line); ok {
		return e, wanted
	}
	if e, ok := p.parseLogfmt(line); ok {
		return e, p.enabled(e.level)
	}
	if e, ok := parseBracketed(line); ok {
		return e, p.enabled(e.level)
	}
	if !p.enabled(plainLevel) {
		return entry{level: plainLevel}, false
	}
	return entry{level: plainLevel, message: printable(string(line))}, true
}

// parseLogfmt reads what slog.TextHandler writes, key=value pairs with Go's
// quoting, and logrus with it. The line must have a level and a message and fit
// the form to its end. Values stay strings: the form does not tell 1 from "1".
func (p *parser) parseLogfmt(line []byte) (entry, bool) {
	if !bytes.HasPrefix(line, []byte("time=")) && !bytes.HasPrefix(line, []byte("level=")) {
		return entry{}, false
	}
	e := entry{level: plainLevel, structured: true}
	p.attrs = p.attrs[:0]
	for rest := string(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		var key, value string
		var ok bool
		if key, rest, ok = logfmtToken(rest, " =\""); !ok || key == "" || !strings.HasPrefix(rest, "=") {
			return entry{}, false
		}
		if value, rest, ok = logfmtToken(rest[1:], " \""); !ok || rest != "" && rest[0] != ' ' {
			return entry{}, false
		}
		value = printable(value)
		if !e.claim(roleOf(key), value) {
			p.attrs = append(p.attrs, slog.String(printable(key), value))
		}
	}
	e.attrs = p.attrs
	return e, e.taken[levelRole] && e.taken[messageRole]
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

// maxStamp is longer than any timestamp before a bracketed level.
const maxStamp = 40

// parseBracketed reads "[LEVEL] text", alone or after the timestamp of the log
// package or of hclog.
func parseBracketed(line []byte) (entry, bool) {
	open := bytes.IndexByte(line[:min(len(line), maxStamp)], '[')
	if open < 0 {
		return entry{}, false
	}
	name, text, ok := bytes.Cut(line[open+1:], []byte("]"))
	if !ok {
		return entry{}, false
	}
	e := entry{structured: true}
	if e.level, ok = levelNamed(string(name)); !ok {
		return entry{}, false
	}
	if open > 0 {
		if e.time, ok = writtenTime(strings.TrimRight(string(line[:open]), " ")); !ok {
			return entry{}, false
		}
	}
	e.message = printable(string(bytes.TrimLeft(text, " ")))
	return e, true
}

// timeLayouts are the forms of slog and zerolog, of zap and hclog, and of the
// log package, which means local time.
var timeLayouts = [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006/01/02 15:04:05"}

func writtenTime(s string) (time.Time, bool) {
	if len(s) == 0 || len(s) > maxStamp || s[0] < '0' || s[0] > '9' {
		return time.Time{}, false
	}
	for _, layout := range timeLayouts {
		// Parse reads a fraction of a second that the layout does not mention.
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, !t.IsZero() // handlers leave out a zero time
		}
	}
	return time.Time{}, false
}

// unixTime reads a number since 1970: zap's seconds with a fraction, zerolog's
// whole seconds, and milli-, micro- or nanoseconds, which are told apart by their
// size. Anything before 1973 is some other number, for example an elapsed time.
func unixTime(number string) (time.Time, bool) {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 1e8 || f >= math.MaxInt64 {
		return time.Time{}, false
	}
	perSecond := int64(1)
	for limit := 1e11; f >= limit && perSecond < 1e9; limit *= 1e3 {
		perSecond *= 1e3
	}
	whole, fraction := math.Modf(f)
	n, err := strconv.ParseInt(number, 10, 64) // exact where a float is not
	if err != nil {
		n = int64(whole)
	}
	unit := 1e9 / perSecond
	// A float has no more than about a quarter of a microsecond to give.
	nanos := n%perSecond*unit + int64(math.Round(fraction*float64(unit)/1e3))*1e3
	return time.Unix(n/perSecond, nanos), true
}
