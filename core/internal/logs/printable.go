package logs

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns s so that it may reach a terminal through any handler, also
// one that writes messages as they are: each line of it with a control character
// or invalid UTF-8 is quoted as by [strconv.Quote], which loses nothing. Tabs and
// line feeds stay.
func printable(s string) string {
	if clean(s) {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if !clean(line) {
			lines[i] = strconv.Quote(line)
		}
	}
	return strings.Join(lines, "\n")
}

func clean(s string) bool {
	for i, r := range s {
		switch {
		case r == '\n' || r == '\t':
		case unicode.IsControl(r):
			return false
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		}
	}
	return true
}
