package hostcli

import (
	"strconv"
	"strings"
	"unicode"
)

// Safe returns a text of somebody else as it may go to a terminal: what would move
// the cursor or turn the writing around is escaped. Ends of lines and tabs stay.
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
