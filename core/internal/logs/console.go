package logs

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// consoleTime is the layout of a time for people, in local time.
const consoleTime = "15:04:05.000"

// These colours of the console are those of zerolog's ConsoleWriter.
const (
	red      = "31"
	green    = "32"
	yellow   = "33"
	blue     = "34"
	cyan     = "36"
	bold     = "1"
	darkGray = "90"
)

// consoleLevels are the level names for people, by the names in [zerologForm].
var consoleLevels = map[string]struct{ text, color string }{
	"trace": {"TRC", blue},
	"debug": {"DBG", ""},
	"info":  {"INF", green},
	"warn":  {"WRN", yellow},
	"error": {"ERR", red},
	"fatal": {"FTL", red},
}

// console turns zerolog's lines of JSON, one a Write, into lines for people: time,
// level, plugin and pid, message, and the other fields as key=value in their order.
// The lines look like those of zerolog's ConsoleWriter. That writer is not safe for
// hostile texts: it does not quote messages and keys, so a line feed begins a new
// line. It also sorts fields, drops fields whose key comes again, and
// depends on package variables that the program may change.
//
// Each record is one line: characters that would change how a line is read are
// quoted.
type console struct {
	w     io.Writer
	plain bool // no colours, whatever the environment says
}

// Write implements [io.Writer].
func (c console) Write(line []byte) (int, error) {
	shown := append(c.show(bytes.TrimSpace(line)), '\n')
	if _, err := c.w.Write(shown); err != nil {
		return 0, err
	}
	return len(line), nil
}

func (c console) show(line []byte) []byte {
	if len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return []byte(quote(string(line))) // a value that marshals itself has written invalid JSON
	}
	p := painter{buf: make([]byte, 0, 2*len(line)), plain: c.plain || os.Getenv("NO_COLOR") != ""}
	inHead := true // true until the message is written
	weight := bold
	stack := ""
	for _, f := range appendFields(nil, line) {
		key, value := decodeString(unquoted(f.key)), consoleText(f.value)
		switch {
		case inHead && key == zerologForm.level:
			name, _, _ := strings.Cut(strings.TrimRight(value, "0123456789"), "+")
			level := consoleLevels[strings.TrimSuffix(name, "-")]
			p.add(level.color, level.text)
			if level.text == "DBG" || level.text == "TRC" {
				weight = ""
			}
		case inHead && key == zerologForm.time:
			if t, err := time.Parse(time.RFC3339Nano, value); err == nil {
				value = t.Local().Format(consoleTime)
			}
			p.addFirst(darkGray, value)
		case inHead && key == zerologForm.message:
			inHead = false
			if value != "" {
				p.add(weight, OneLine(value))
			}
		case key == stackKey && !inHead:
			stack = value
		default:
			p.addField(key, value, f.value[0] == '"')
		}
	}
	if stack != "" { // the stack is the longest part, so it comes last
		p.addField(stackKey, stack, true)
	}
	return p.buf
}

// consoleText returns the text of a string, and any other value as JSON.
func consoleText(raw []byte) string {
	if raw[0] == '"' {
		return decodeString(unquoted(raw))
	}
	return string(escaped(raw))
}

// painter adds the parts of a line, with colours and a space between them.
type painter struct {
	buf   []byte
	plain bool
}

func (p *painter) paint(b []byte, color, text string) []byte {
	if p.plain || color == "" {
		return append(b, text...)
	}
	b = append(append(append(b, "\x1b["...), color...), 'm')
	return append(append(b, text...), "\x1b[0m"...)
}

func (p *painter) add(color, text string) {
	if len(p.buf) > 0 {
		p.buf = append(p.buf, ' ')
	}
	p.buf = p.paint(p.buf, color, text)
}

// addFirst puts a part in front. People look for the time there, but zerolog's
// lines begin with the level.
func (p *painter) addFirst(color, text string) {
	rest := string(p.buf)
	p.buf = p.paint(p.buf[:0], color, OneLine(text))
	if rest != "" {
		p.buf = append(append(p.buf, ' '), rest...)
	}
}

func (p *painter) addField(key, value string, isString bool) {
	p.add(cyan, bare(key)+"=")
	if isString {
		value = bare(value)
	}
	p.buf = append(p.buf, value...)
}

// bare returns s as one word. It quotes s if a reader could take it for
// anything else.
func bare(s string) string {
	if s == "" {
		return `""`
	}
	for i, r := range s {
		switch {
		case r == '"' || r == '\\' || r == '=' && i == 0, unicode.IsSpace(r), unicode.Is(unicode.Z, r), isHidden(r):
			return quote(s)
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return strconv.Quote(s)
			}
		}
	}
	return s
}
