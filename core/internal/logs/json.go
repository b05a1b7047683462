package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxDepth is how deep objects become groups; what is below stays JSON. No logger
// nests so far, and it bounds the work that a hostile line can cause.
const maxDepth = 16

// field is a member of a JSON object, both parts as written.
type field struct {
	key, value []byte
	claimed    bool // it is the line's level
}

// rawJSON is a value that stays as it was written: JSON again in a handler that
// writes JSON, and its text in any other, where a json.RawMessage would be numbers.
type rawJSON string

var _ json.Marshaler = rawJSON("")

// MarshalJSON returns the text itself.
func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// parseJSON reads a line that is one JSON object with a message or a level. It
// reports ok for such a line, and wanted when its level is enabled too.
//
// The order of fields is kept, and so are numbers: one that an int64, a uint64 or
// a float64 does not print again as it was written stays a [json.Number]. Objects
// become groups; arrays stay JSON, as [rawJSON].
func (p *parser) parseJSON(line []byte) (e entry, ok, wanted bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return entry{}, false, false
	}
	e = entry{level: plainLevel, structured: true}
	p.fields = appendFields(p.fields[:0], line)
	hasMessage := false
	for i := range p.fields {
		switch f := &p.fields[i]; roleOf(string(unquoted(f.key))) {
		case levelRole:
			f.claimed = e.claimJSON(levelRole, f.value)
		case messageRole:
			hasMessage = hasMessage || f.value[0] == '"'
		case noRole, timeRole:
		}
	}
	if !e.taken[levelRole] && !hasMessage {
		return entry{}, false, false
	}
	if !p.enabled(e.level) {
		return e, true, false
	}
	p.attrs = p.attrs[:0]
	for _, f := range p.fields {
		if !f.claimed && !e.claimJSON(roleOf(string(unquoted(f.key))), f.value) {
			p.attrs = append(p.attrs, f.attr(1))
		}
	}
	e.attrs = p.attrs
	return e, true, true
}

func (e *entry) claimJSON(r role, raw []byte) bool {
	switch {
	case r == noRole:
		return false
	case raw[0] == '"':
		return e.claim(r, jsonString(raw))
	case r == timeRole && !e.taken[timeRole]: // a number, or nothing of use
		e.time, e.taken[timeRole] = unixTime(string(raw))
		return e.taken[timeRole]
	default:
		return false
	}
}

// appendFields cuts an object into its members. The object must be valid JSON;
// that it is lets the cutting be this simple.
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

// cutValue cuts the value at the front of b, which goes on after it, and the
// space behind it.
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
			// A number or a word, or what stands between values.
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
// empty groups, and treat an empty key as a wish to inline the group.
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

// jsonString decodes a string of valid JSON. Unlike encoding/json it keeps bytes
// that are not UTF-8, for printable to quote.
func jsonString(raw []byte) string {
	in := unquoted(raw)
	if bytes.IndexByte(in, '\\') < 0 {
		return printable(string(in))
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
				// The second half follows as an escape of its own, or r is U+FFFD.
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
	return printable(out.String())
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
