package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
)

// maxHeader bounds the part of a line of text in which the parser looks for its
// level, its first key or a colour.
const maxHeader = 160

// parseText reads a line of text that begins with its level, or with a timestamp
// and then its level, in one of the forms of well-known loggers. The first byte of
// a line tells which forms are possible, so most plain text costs only a look at
// that byte.
//
// Text between the two, such as a thread or a logger's name, stays in the message.
func (p *parser) parseText(line []byte) (entry, bool) {
	if len(line) == 0 {
		return entry{}, false
	}
	e := entry{level: plainLevel, structured: true}
	p.attrs = p.attrs[:0]
	ok := false
	switch c := line[0]; {
	case c == '[':
		ok = p.bracketed(&e, line)
	case c == '<':
		ok = p.syslog(&e, line)
	case isDigit(c):
		ok = p.stamped(&e, line)
	case c == ' ':
		text := bytes.TrimLeft(line, " ")
		ok = p.worded(&e, text) || p.stamped(&e, text)
	case isUpper(c):
		ok = p.glog(&e, line) || p.ruby(&e, line) || p.stamped(&e, line) || p.worded(&e, line)
	case isLetter(c):
		ok = p.dotnet(&e, line) || p.lowered(&e, line)
	}
	if !ok {
		return entry{}, false
	}
	e.attrs = p.attrs
	return e, true
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func isLetter(c byte) bool { return isUpper(c) || 'a' <= c && c <= 'z' }

// say sets the message if the level is enabled. Otherwise parse would ignore
// it.
func (p *parser) say(e *entry, message []byte) bool {
	if p.enabled(e.level) {
		e.message = printable(string(message))
	}
	return true
}

func (p *parser) attr(key string, value []byte) {
	p.attrs = append(p.attrs, slog.String(key, printable(string(value))))
}

// upperWord cuts a word of upper-case letters that is a level, with slog's distance.
func upperWord(b []byte) (level slog.Level, rest []byte, ok bool) {
	n := 0
	for n < len(b) && n <= longestLevel && isUpper(b[n]) {
		n++
	}
	if n < len("INF") {
		return 0, b, false
	}
	end := n
	if n < len(b) && (b[n] == '+' || b[n] == '-') {
		end += 1 + digits(b[n+1:])
	}
	word := string(b[:end])
	if level, ok = distantLevel(word, levelNamed); !ok {
		level, ok = levelShort(word)
	}
	return level, b[end:], ok
}

// lowerWord cuts a word of lower-case letters that is a level, and the colon and the
// blank after it.
func lowerWord(b []byte) (level slog.Level, rest []byte, ok bool) {
	i := bytes.IndexByte(b[:min(len(b), longestLevel+1)], ':')
	if i < 0 || i+1 >= len(b) || b[i+1] != ' ' || isUpper(b[0]) {
		return 0, b, false
	}
	level, ok = levelNamed(string(b[:i]))
	return level, b[i+1:], ok
}

// lowered reads "warn: text", as winston and many commands write it.
func (p *parser) lowered(e *entry, line []byte) bool {
	level, rest, ok := lowerWord(line)
	return ok && p.sayBoth(e, level, nil, rest)
}

// stamped reads a timestamp and what follows it.
func (p *parser) stamped(e *entry, line []byte) bool {
	var s stamp
	if rest, ok := s.cut(line); ok {
		if !p.afterStamp(e, rest) && (!s.comma || !p.afterName(e, rest)) {
			return false
		}
		e.time, ok = s.time()
		return ok
	}
	// zap's in production: seconds with an exponent, and a tab.
	i := bytes.IndexByte(line[:min(len(line), maxStamp)], '\t')
	if i < 0 {
		return false
	}
	var ok bool
	e.time, ok = unixTime(string(line[:i]))
	return ok && p.afterStamp(e, line[i:])
}

// maxSkipped is the number of words between a timestamp and a level: a thread, a
// logger's name.
const maxSkipped = 3

// afterStamp reads what follows a timestamp: "LEVEL text", "[LEVEL] text",
// "| LEVEL | text", "[thread] LEVEL text", "- name - LEVEL - text", or zap's tabs.
func (p *parser) afterStamp(e *entry, b []byte) bool {
	if len(b) > 0 && b[0] == '\t' {
		return p.tabbed(e, b[1:])
	}
	b = bytes.TrimLeft(b, " :")
	rest := b
	for range maxSkipped {
		if len(rest) == 0 || len(b)-len(rest) > maxHeader {
			return false
		}
		switch rest[0] {
		case '[':
			inner, after, ok := bytes.Cut(rest[1:], []byte("]"))
			if !ok || len(inner) > maxHeader {
				return false
			}
			level, ok := levelNamed(string(bytes.TrimSpace(inner)))
			if !ok && len(inner) == 1 { // the form of beego
				level, ok = levelLetter(inner[0])
			}
			if ok {
				return p.sayBoth(e, level, b[:len(b)-len(rest)], bytes.TrimPrefix(after, []byte(":")))
			}
			rest = bytes.TrimLeft(after, " ")
		case '|':
			inner, after, ok := bytes.Cut(rest[1:], []byte("|"))
			if !ok || len(inner) > maxHeader {
				return false
			}
			level, ok := writtenLevel(string(inner))
			return ok && p.sayBoth(e, level, b[:len(b)-len(rest)], after)
		case '-': // Python's: - name - LEVEL - text
			name, after, ok := bytes.Cut(bytes.TrimLeft(rest[1:], " "), []byte(" - "))
			if !ok || len(name) > maxHeader || bytes.IndexByte(name, ' ') >= 0 {
				return false
			}
			if level, left, ok := upperWord(name); ok && len(left) == 0 {
				return p.sayBoth(e, level, nil, after)
			}
			level, left, ok := upperWord(after)
			if !ok {
				return false
			}
			return p.sayBoth(e, level, name, bytes.TrimLeft(left, " "))
		default:
			level, after, ok := lowerWord(rest)
			if !ok {
				level, after, ok = upperWord(rest)
			}
			if !ok || len(after) > 0 && strings.IndexByte(" :\t|", after[0]) < 0 {
				return false
			}
			return p.sayBoth(e, level, b[:len(b)-len(rest)], bytes.TrimPrefix(after, []byte(":")))
		}
	}
	return false
}

// afterName reads "name LEVEL text", after a time with a comma: a common form of
// Python's logging. After other times such words are ordinary text.
func (p *parser) afterName(e *entry, b []byte) bool {
	name, rest, ok := bytes.Cut(bytes.TrimLeft(b, " "), []byte(" "))
	if !ok || len(name) > maxHeader {
		return false
	}
	level, after, ok := upperWord(bytes.TrimLeft(rest, " "))
	return ok && len(after) > 0 && after[0] == ' ' && p.sayBoth(e, level, name, after)
}

// sayBoth joins the text before the level and the text after it to the message.
func (p *parser) sayBoth(e *entry, level slog.Level, before, after []byte) bool {
	e.level = level
	after = bytes.TrimLeft(after, " ")
	if before = bytes.TrimRight(before, " "); len(before) == 0 || !p.enabled(level) {
		return p.say(e, after)
	}
	e.message = printable(string(before) + " " + string(after))
	return true
}

// tabbed reads zap's line for people after its time: level, logger, caller, message
// and fields, with tabs between them. Only the level and the message are always
// there.
func (p *parser) tabbed(e *entry, b []byte) bool {
	name, _, ok := bytes.Cut(b[:min(len(b), maxHeader)], []byte("\t"))
	if !ok {
		return false
	}
	rest := b[len(name)+1:]
	if e.level, ok = writtenLevel(string(name)); !ok {
		return false
	}
	if !p.enabled(e.level) {
		return true
	}
	if first, after, ok := bytes.Cut(rest, []byte("\t")); ok && isCaller(first) {
		p.attr("caller", first)
		rest = after
	} else if second, message, both := bytes.Cut(after, []byte("\t")); ok && both && isCaller(second) {
		p.attr("logger", first)
		p.attr("caller", second)
		rest = message
	}
	if i := bytes.LastIndexByte(rest, '\t'); i >= 0 {
		if fields := rest[i+1:]; len(fields) > 1 && fields[0] == '{' && json.Valid(fields) {
			rest = rest[:i]
			for _, f := range appendFields(nil, fields) {
				a := f.attr(1)
				a.Key = fieldKey(a.Key)
				p.attrs = append(p.attrs, a)
			}
		}
	}
	return p.say(e, rest)
}

// isCaller recognizes "dir/file.go:12".
func isCaller(b []byte) bool {
	i := bytes.LastIndexByte(b, ':')
	return i > 0 && i < len(b)-1 && len(b) <= maxHeader && digits(b[i+1:]) == len(b)-i-1 && !bytes.ContainsAny(b, " \t")
}

// bracketed reads "[LEVEL] text", "[timestamp] LEVEL text" and similar forms, and
// lines with both in one pair of brackets: those of env_logger and Serilog's
// console.
func (p *parser) bracketed(e *entry, line []byte) bool {
	inner, text, ok := bytes.Cut(line[1:], []byte("]"))
	if !ok || len(inner) > maxHeader {
		return false
	}
	if level, ok := levelNamed(string(bytes.TrimSpace(inner))); ok {
		return p.sayBoth(e, level, nil, text)
	}
	if len(inner) > 2 && inner[1] == ' ' { // Tornado's and Jupyter's
		level, known := levelLetter(inner[0])
		t, rest, ok := cutStamp(inner[2:])
		if e.time = t; known && ok {
			p.attr("target", bytes.TrimLeft(rest, " "))
			return p.sayBoth(e, level, nil, text)
		}
	}
	t, rest, ok := cutStamp(inner)
	if ok {
		e.time = t
	} else {
		rest = inner
	}
	if ok && len(rest) == 0 {
		return p.afterStamp(e, text)
	}
	if ok { // Celery's has a colon after the time
		rest = bytes.TrimLeft(rest, " :")
	}
	level, rest, known := upperWord(rest)
	if !known || len(rest) == 0 && !ok || len(rest) > 0 && strings.IndexByte(" /", rest[0]) < 0 {
		return false
	}
	e.level = level
	if rest = bytes.Trim(rest, " /"); len(rest) > 0 {
		p.attr("target", rest)
	}
	return p.sayBoth(e, level, nil, text)
}

// lastPriority is syslog's highest priority, facility included.
const lastPriority = 191

// syslog reads the priority that systemd, and syslog, have before a line, and the
// level in it.
func (p *parser) syslog(e *entry, line []byte) bool {
	n := digits(line[1:])
	if n == 0 || n > 3 || len(line) <= n+1 || line[n+1] != '>' || n > 1 && line[1] == '0' {
		return false
	}
	priority, _, _ := cutNumber(line[1:], n)
	if priority > lastPriority {
		return false
	}
	text := line[n+2:]
	// In RFC 5424 the version comes next, in RFC 3164 the time.
	if t, _, ok := cutStamp(bytes.TrimPrefix(text, []byte("1 "))); ok {
		e.time = t
	}
	return p.sayBoth(e, syslogLevel(priority), nil, text)
}

// glog reads the lines of glog, klog and Abseil:
// "I1130 18:42:06.123456   12345 file.go:12] text", the date with or without a year.
func (p *parser) glog(e *entry, line []byte) bool {
	level, ok := levelLetter(line[0])
	if !ok || len(line) < 2 || !isDigit(line[1]) {
		return false
	}
	// Abseil's before it is initialized: "0000 00:00:" and seconds since 1970.
	rest, early := bytes.CutPrefix(line[1:], []byte("0000 00:00:"))
	if early {
		n := bytes.IndexByte(rest, ' ')
		if n < 0 {
			return false
		}
		if e.time, ok = unixTime(string(rest[:min(n, maxStamp)])); !ok {
			return false
		}
		rest = rest[n:]
	} else if e.time, rest, ok = cutStamp(line[1:]); !ok {
		return false
	}
	header, text, ok := bytes.Cut(rest, []byte("] "))
	if !ok {
		if header, ok = bytes.CutSuffix(rest, []byte("]")); !ok {
			return false
		}
	}
	thread, caller, ok := bytes.Cut(bytes.TrimLeft(header, " "), []byte(" "))
	if !ok || digits(thread) != len(thread) || !isCaller(caller) {
		return false
	}
	e.level = level
	if !p.enabled(level) {
		return true
	}
	if !p.klogPairs(e, text) {
		p.attrs = p.attrs[:0]
		e.message = printable(string(text))
	}
	p.attr("thread", thread)
	p.attr("caller", caller)
	return true
}

// klogPairs reads a quoted message and key=value pairs, klog's structured form.
func (p *parser) klogPairs(e *entry, text []byte) bool {
	if len(text) == 0 || text[0] != '"' {
		return false
	}
	message, rest, ok := logfmtToken(string(text), "")
	if !ok || rest != "" && rest[0] != ' ' {
		return false
	}
	if !p.pairs(strings.TrimLeft(rest, " "), func(key, value string) {
		p.attrs = append(p.attrs, slog.String(fieldKey(key), printable(value)))
	}) {
		return false
	}
	e.message = printable(message)
	return true
}

// ruby reads the lines of Ruby's Logger:
// "W, [2026-02-03T04:05:06.123456 #12345]  WARN -- program: text".
func (p *parser) ruby(e *entry, line []byte) bool {
	level, ok := levelLetter(line[0])
	if !ok || !bytes.HasPrefix(line[1:], []byte(", [")) {
		return false
	}
	t, rest, ok := cutStamp(line[len("W, ["):])
	if !ok {
		return false
	}
	process, _, ok := bytes.Cut(rest[:min(len(rest), maxHeader)], []byte(" -- "))
	if !ok || !bytes.HasPrefix(process, []byte(" #")) {
		return false
	}
	e.time = t
	text := rest[len(process)+len(" -- "):]
	return p.sayBoth(e, level, nil, bytes.TrimPrefix(text, []byte(": ")))
}

// worded reads a line that begins with its level in upper case: "LEVEL: text",
// Python's "LEVEL:name:text", logrus' and log15's "WARN[0012] text", "LEVEL - text",
// "LEVEL    text" and "WARN text". The last counts from info up, as "DEBUG mode" and
// "TRACE /path" are ordinary words.
func (p *parser) worded(e *entry, line []byte) bool {
	level, rest, ok := upperWord(line)
	if !ok || len(rest) == 0 {
		return false
	}
	e.level = level
	switch c := rest[0]; {
	case c == ':' && len(rest) > 1 && rest[1] == ' ':
		return p.sayBoth(e, level, nil, rest[1:])
	case c == ':':
		name, text, ok := bytes.Cut(rest[1:], []byte(":"))
		if !ok || len(name) == 0 || len(name) > maxHeader || bytes.ContainsAny(name, " /\\\"") {
			return false
		}
		p.attr("logger", name)
		return p.sayBoth(e, level, nil, text)
	case c == '\t':
		return p.tabbed(e, line)
	case c != '[' && c != ' ':
		return false
	}
	rest = bytes.TrimLeft(rest, " ")
	if inner, text, ok := bytes.Cut(bytes.TrimPrefix(rest, []byte("[")), []byte("]")); ok && rest[0] == '[' && len(inner) <= maxStamp {
		t, left, ok := cutStamp(inner)
		if ok = ok && len(left) == 0; ok {
			e.time = t
		}
		if ok || len(inner) > 0 && digits(inner) == len(inner) {
			return p.sayBoth(e, level, nil, text)
		}
	}
	if line[len(line)-len(rest)-1] != ' ' {
		return false
	}
	if t, left, ok := cutStamp(rest); ok { // an old env_logger's
		e.time = t
		return p.sayBoth(e, level, nil, bytes.TrimLeft(left, ": "))
	}
	text, hyphen := bytes.CutPrefix(rest, []byte("- "))
	padded := bytes.HasSuffix(line[:len(line)-len(rest)], []byte("  "))
	return (level >= slog.LevelInfo || hyphen || padded) && p.sayBoth(e, level, nil, text)
}

// dotnet reads the first line of .NET's console: "warn: Category[12]", which the
// text follows on the same line or on the next ones.
func (p *parser) dotnet(e *entry, line []byte) bool {
	const nameLen = 4
	if len(line) < nameLen+2 || line[nameLen] != ':' || line[nameLen+1] != ' ' {
		return false
	}
	rest := line[nameLen+2:]
	i := bytes.IndexAny(rest[:min(len(rest), maxHeader)], "[ ")
	if i <= 0 || rest[i] != '[' {
		return false
	}
	n := digits(rest[i+1:])
	if n == 0 || i+1+n >= len(rest) || rest[i+1+n] != ']' {
		return false
	}
	var ok bool
	if e.level, ok = levelWord(string(line[:nameLen])); !ok {
		return false
	}
	return p.say(e, rest)
}

const (
	escape = '\x1b'
)

// appendColorless appends line without the escape sequences that set colours.
func appendColorless(b, line []byte) []byte {
	for len(line) > 0 {
		i := bytes.IndexByte(line, escape)
		if i < 0 {
			break
		}
		b = append(b, line[:i]...)
		end := i + 1
		if end < len(line) && line[end] == '[' {
			for end++; end < len(line) && (isDigit(line[end]) || line[end] == ';'); end++ {
			}
			if end < len(line) && line[end] == 'm' {
				line = line[end+1:]
				continue
			}
		}
		b = append(b, escape)
		line = line[i+1:]
	}
	return append(b, line...)
}
