package logs

import (
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// escaper passes on zerolog's lines of JSON, one a Write, with each [hidden] character
// as a \u escape. The escape means the same to a reader of JSON, and nothing to a
// terminal. This step is necessary because zerolog's own escaping skips values that
// marshal themselves, and leaves characters above ASCII unchanged.
type escaper struct{ w io.Writer }

// Write implements [io.Writer].
func (e escaper) Write(line []byte) (int, error) {
	if _, err := e.w.Write(escaped(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// escaped returns a line of JSON with its hidden characters escaped. In valid JSON,
// only strings have characters outside ASCII, and control characters are only between
// values.
func escaped(line []byte) []byte {
	start := 0 // start of the part that is not in out yet
	var out []byte
	replace := func(i, size int, by string) {
		out = append(append(out, line[start:i]...), by...)
		start = i + size
	}
	for i := 0; i < len(line); {
		c := line[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '\x7f':
				replace(i, 1, `\u007f`)
			case c < ' ' && i < len(line)-1: // the last one ends the line
				replace(i, 1, " ")
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			replace(i, 1, `\ufffd`)
		case !isHidden(r):
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			replace(i, size, fmt.Sprintf(`\u%04x\u%04x`, high, low))
		default:
			replace(i, size, fmt.Sprintf(`\u%04x`, r))
		}
		i += size
	}
	if start == 0 {
		return line
	}
	return append(out, line[start:]...)
}
