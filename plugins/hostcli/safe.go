package hostcli

import (
	"strconv"
	"strings"
	"unicode"
)

// Safe returns a form of a foreign text that is safe for a terminal: characters
// that would move the cursor or change the direction of writing are escaped. Ends
// of lines and tabs stay.
func Safe(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
