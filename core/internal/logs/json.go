package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// maxDepth is down to which depth objects become groups. Deeper objects stay
// JSON. No logger nests so deep, and the limit bounds the work that a hostile
// line can cause.
const maxDepth = 16

// field is a member of a JSON object, both parts as written.
type field struct {
	key, value []byte
	claimed    bool // this field is the line's level
}

// rawJSON is an unchanged value: a handler that writes JSON writes it as JSON, any
// other as its text. A json.RawMessage would be a list of numbers there.
type rawJSON string

var _ json.Marshaler = rawJSON("")

// MarshalJSON returns the text itself.
func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// parseJSON reads a line that is one JSON object with a message or a level. It
// reports ok for such a line, and wanted when its level is enabled too. A field
// without a role, or whose role another field has, becomes an attribute. It is
// renamed if its key is that of a part of the record.
//
// The order of fields is kept, and so is the text of numbers: a number that an
// int64, a uint64 or a float64 would print differently stays a [json.Number].
// Objects become groups; arrays stay JSON, as [rawJSON].
func (p *parser) parseJSON(line []byte) (e entry, ok, wanted bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return entry{}, false, false
	}
	e = entry{level: plainLevel, structured: true}
	p.fields = appendFields(p.fields[:0], line)
	hasMessage := p.claimLevel(&e)
	if (!hasMessage || !e.taken[levelRole]) && p.unwrap(e.taken[levelRole]) {
		hasMessage = p.claimLevel(&e)
	}
	if !e.taken[levelRole] && !hasMessage {
		return entry{}, false, false
	}
	if !p.enabled(e.level) {
		return e, true, false
	}
	p.attrs = p.attrs[:0]
	for _, f := range p.fields {
		r := roleOf(string(unquoted(f.key)))
		if r == textRole && !hasMessage {
			r = messageRole
		}
		if !f.claimed && !e.claimJSON(r, f) {
			a := f.attr(1)
			a.Key = fieldKey(a.Key)
			p.attrs = append(p.attrs, a)
		}
	}
	e.attrs = p.attrs
	return e, true, true
}

// claimLevel looks for the level among the fields, and reports whether one of them
// is a message.
func (p *parser) claimLevel(e *entry) (hasMessage bool) {
	syslog := false
	for i := range p.fields {
		switch f := &p.fields[i]; roleOf(string(unquoted(f.key))) {
		case levelRole:
			f.claimed = f.claimed || f.value[0] != '{' && e.claimJSON(levelRole, *f)
		case messageRole:
			hasMessage = hasMessage || f.value[0] == '"'
		case textRole:
			syslog = syslog || string(f.key) == `"short_message"` // GELF
		case noRole, timeRole:
		}
	}
	if e.taken[levelRole] {
		return hasMessage
	}
	for i := range p.fields {
		f := &p.fields[i]
		switch key := string(unquoted(f.key)); {
		case roleOf(key) != levelRole:
		case f.value[0] == '{': // loguru's
			f.claimed = e.claimJSON(levelRole, *f)
		case syslog && !e.taken[levelRole]:
			e.level, e.taken[levelRole] = numericLevel(key, string(f.value), true)
			f.claimed = e.taken[levelRole]
		}
	}
	return hasMessage
}

// unwrap replaces an object by its members if other loggers write these members at the
// outermost level. Such objects are "fields" of Rust's tracing, which has the level
// outside, "@fields" of logstash, and "record" of loguru.
func (p *parser) unwrap(hasLevel bool) bool {
	for i, f := range p.fields {
		if f.value[0] != '{' {
			continue
		}
		switch key := string(unquoted(f.key)); {
		case key == "fields" && hasLevel, (key == "@fields" || key == "record") && !hasLevel:
		default:
			continue
		}
		rest := slices.Clone(p.fields[i+1:])
		p.fields = append(appendFields(p.fields[:i], f.value), rest...)
		return true
	}
	return false
}

// claimJSON is [entry.claim] for a value of JSON.
func (e *entry) claimJSON(r role, f field) bool {
	raw := f.value
	switch {
	case r == noRole || e.taken[r]:
		return false
	case r == levelRole && raw[0] == '"': // winston and zap may colour it
		level := decodeString(unquoted(raw))
		if strings.IndexByte(level, escape) >= 0 {
			level = string(appendColorless(nil, []byte(level)))
		}
		return e.claim(levelRole, string(unquoted(f.key)), level)
	case raw[0] == '"':
		return e.claim(r, "", jsonString(raw))
	case r == levelRole && raw[0] == '{':
		name := member(raw, "name")
		return name != nil && name[0] == '"' && e.claim(levelRole, "name", jsonString(name))
	case r == levelRole:
		var level slog.Level
		if level, e.taken[levelRole] = numericLevel(string(unquoted(f.key)), string(raw), false); e.taken[levelRole] {
			e.level = level
		}
		return e.taken[levelRole]
	case r == timeRole && raw[0] == '{':
		e.time, e.taken[timeRole] = objectTime(raw)
		return e.taken[timeRole]
	case r == timeRole: // a number, or a value without meaning
		e.time, e.taken[timeRole] = unixTime(string(raw))
		return e.taken[timeRole]
	default:
		return false
	}
}

// objectTime reads an object with a time: log4j's, Google Cloud's, or loguru's.
func objectTime(object []byte) (time.Time, bool) {
	if seconds := member(object, "timestamp"); seconds != nil {
		return unixTime(string(seconds))
	}
	for _, keys := range [...][2]string{{"epochSecond", "nanoOfSecond"}, {"seconds", "nanos"}} {
		seconds, nanos := member(object, keys[0]), member(object, keys[1])
		if seconds == nil || nanos == nil {
			continue
		}
		t, ok := unixTime(string(seconds))
		n, err := strconv.ParseInt(string(nanos), 10, 32)
		return t.Add(time.Duration(n)), ok && err == nil
	}
	return time.Time{}, false
}

// member returns the value of a member of an object, nil if it has none of that key.
func member(object []byte, key string) []byte {
	for _, f := range appendFields(nil, object) {
		if string(unquoted(f.key)) == key {
			return f.value
		}
	}
	return nil
}

// appendFields cuts an object into its members. The object must be valid JSON,
// which keeps this function simple.
func appendFields(fields []field, object []byte) []field {
	rest := bytes.TrimSpace(object[1:])
	for rest[0] != '}' {
		var f field
		f.key, rest = cutValue(rest)
		rest = bytes.TrimSpace(rest[len(":"):])
		f.value, rest = cutValue(rest)
		if rest[0] == ',' {
			rest = bytes.TrimSpace(rest[1:])
		}
		fields = append(fields, f)
	}
	return fields
}

// cutValue cuts the value at the front of b, and the space behind it. More must
// follow the value.
func cutValue(b []byte) (value, rest []byte) {
	end, depth := 0, 0
scan:
	for {
		switch b[end] {
		case '"':
			end += stringLen(b[end:])
		case '{', '[':
			depth++
			end++
		case '}', ']':
			depth--
			end++
		default:
			// It is a number or a word, or a byte between values.
			end++
			if depth == 0 {
				end += bytes.IndexAny(b[end:], ",}] \t\r\n")
			}
		}
		if depth == 0 {
			break scan
		}
	}
	return b[:end], bytes.TrimSpace(b[end:])
}

// stringLen returns the length of the JSON string at the front of b.
func stringLen(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// attr makes the field an attribute that no handler leaves out: handlers drop
// empty groups, and inline a group with an empty key.
func (f field) attr(depth int) slog.Attr {
	key := jsonString(f.key)
	switch {
	case key == "":
		return slog.Attr{Value: rawValue(f.value)}
	case f.value[0] == '{' && depth < maxDepth:
		fields := appendFields(nil, f.value)
		if len(fields) == 0 {
			return slog.Attr{Key: key, Value: rawValue(f.value)}
		}
		attrs := make([]slog.Attr, len(fields))
		for i, inner := range fields {
			attrs[i] = inner.attr(depth + 1)
		}
		return slog.GroupAttrs(key, attrs...)
	default:
		return slog.Attr{Key: key, Value: jsonValue(f.value)}
	}
}

func jsonValue(raw []byte) slog.Value {
	switch raw[0] {
	case '"':
		return slog.StringValue(jsonString(raw))
	case '{', '[':
		return rawValue(raw)
	case 't', 'f':
		return slog.BoolValue(raw[0] == 't')
	case 'n':
		return slog.AnyValue(nil)
	default:
		return numberValue(string(raw))
	}
}

func rawValue(raw []byte) slog.Value {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil || !clean(compact.String()) {
		return slog.StringValue(printable(string(raw)))
	}
	return slog.AnyValue(rawJSON(compact.String()))
}

func numberValue(text string) slog.Value {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil && text != "-0" {
		return slog.Int64Value(i)
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return slog.Uint64Value(u)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == text {
		return slog.Float64Value(f)
	}
	return slog.AnyValue(json.Number(text))
}

// jsonString decodes a string of valid JSON for a record.
func jsonString(raw []byte) string { return printable(decodeString(unquoted(raw))) }

// decodeString decodes the text between the quotes of a string of valid JSON.
// Unlike encoding/json it keeps bytes that are not UTF-8, for printable to quote.
func decodeString(in []byte) string {
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in)
	}
	var out strings.Builder
	for len(in) > 0 {
		plain, escape, found := bytes.Cut(in, []byte{'\\'})
		out.Write(plain)
		if !found {
			break
		}
		in = escape[1:]
		switch escape[0] {
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r := hexRune(in)
			in = in[4:]
			if utf16.IsSurrogate(r) {
				// The second half must follow as an escape of its own, else r is
				// U+FFFD.
				second := rune(-1)
				if bytes.HasPrefix(in, []byte(`\u`)) {
					second = hexRune(in[2:])
				}
				if r = utf16.DecodeRune(r, second); r != '\uFFFD' {
					in = in[6:]
				}
			}
			out.WriteRune(r)
		default: // a quote, a slash or a backslash
			out.WriteByte(escape[0])
		}
	}
	return out.String()
}

// unquoted strips the quotes of a JSON string.
func unquoted(raw []byte) []byte {
	return raw[1 : len(raw)-1]
}

// hexRune reads the four digits of a \u escape.
func hexRune(b []byte) rune {
	r, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return '\uFFFD' // unreachable: the JSON is valid
	}
	return rune(r)
}
