package logs

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden are the invisible characters that change how a line is read: controls,
// line and paragraph separators, the controls of bidirectional text, and everything
// that has no width. They are Unicode's categories Cc, Cf, Zl and Zp with its
// default ignorable characters and variation selectors; a test compares. One table
// is several times faster than the six of package unicode.
var hidden = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0000, Hi: 0x001f, Stride: 1},
		{Lo: 0x007f, Hi: 0x009f, Stride: 1},
		{Lo: 0x00ad, Hi: 0x00ad, Stride: 1},
		{Lo: 0x034f, Hi: 0x034f, Stride: 1},
		{Lo: 0x0600, Hi: 0x0605, Stride: 1},
		{Lo: 0x061c, Hi: 0x061c, Stride: 1},
		{Lo: 0x06dd, Hi: 0x06dd, Stride: 1},
		{Lo: 0x070f, Hi: 0x070f, Stride: 1},
		{Lo: 0x0890, Hi: 0x0891, Stride: 1},
		{Lo: 0x08e2, Hi: 0x08e2, Stride: 1},
		{Lo: 0x115f, Hi: 0x1160, Stride: 1},
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x200b, Hi: 0x200f, Stride: 1},
		{Lo: 0x2028, Hi: 0x202e, Stride: 1},
		{Lo: 0x2060, Hi: 0x206f, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
		{Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
		{Lo: 0xfff0, Hi: 0xfffb, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x110bd, Hi: 0x110bd, Stride: 1},
		{Lo: 0x110cd, Hi: 0x110cd, Stride: 1},
		{Lo: 0x13430, Hi: 0x1343f, Stride: 1},
		{Lo: 0x1bca0, Hi: 0x1bca3, Stride: 1},
		{Lo: 0x1d173, Hi: 0x1d17a, Stride: 1},
		{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1},
	},
	LatinOffset: 3,
}

// emojiStyle asks for the coloured form of the symbol before it. Ordinary text has
// it, as in "⚠️ low disk", where it is harmless.
const emojiStyle = '\ufe0f'

// printable makes s safe for a terminal, even through a handler that writes messages as
// they are. A line with a [hidden] character or invalid UTF-8 is quoted as by
// [strconv.Quote], which loses nothing. Tabs and line feeds stay, because they are part
// of the message. Outputs with one line for each record use [OneLine].
func printable(s string) string {
	if clean(s) {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if !clean(line) {
			lines[i] = quote(line)
		}
	}
	return strings.Join(lines, "\n")
}

// Indented returns s for an error of several lines: printable, and with every line
// after the first indented, so that no line looks like the reader's own.
func Indented(s string) string { return strings.ReplaceAll(printable(s), "\n", "\n    ") }

// OneLine returns s for an output whose records are lines: quoted if it has line
// feeds, tabs, or characters that [printable] quotes.
func OneLine(s string) string {
	if clean(s) && !strings.ContainsAny(s, "\n\t") {
		return s
	}
	return quote(s)
}

// clean reports whether s has only characters that may reach a terminal.
func clean(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' && c != '\n' && c != '\t' || c == '\x7f' {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return false
		}
		if unicode.Is(hidden, r) && (r != emojiStyle || !endsInSymbol(s[:i])) {
			return false
		}
		i += size
	}
	return true
}

func endsInSymbol(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return unicode.Is(unicode.So, r) && r != utf8.RuneError // which is one too
}

// quote is like [strconv.Quote], but also quotes the [hidden] characters that
// Unicode counts among letters and marks.
func quote(s string) string {
	quoted := strconv.Quote(s)
	if strings.IndexFunc(quoted, isHidden) < 0 {
		return quoted
	}
	var b strings.Builder
	for _, r := range quoted {
		switch {
		case !isHidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func isHidden(r rune) bool { return unicode.Is(hidden, r) }
