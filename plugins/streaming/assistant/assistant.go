// Package assistant answers messages in the chat room: commands, and any other
// text with its number of words. Begin with [New].
package assistant

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const help = `I know these commands:
/help          this text
/time          the time of the plugin
/who           the participants
/files         what is in the root directory
/calc 2*(3+4)  the value of an expression of numbers, + - * / ^ and parentheses
For any other text I count words and characters.`

// These bound the answer to /files: a screenful that fits into a message.
const (
	maxFiles   = 20
	maxListing = 4000 // bytes
	maxShown   = 100  // length of a name, in characters
)

// An Assistant answers messages. It is safe for concurrent use.
type Assistant struct {
	names func() []string
	files Files
}

// Files returns at most limit names of files, and whether there are more.
type Files func(ctx context.Context, limit int) (names []string, more bool, err error)

// New returns an assistant that gets the participants from names and the files
// from files.
func New(names func() []string, files Files) *Assistant {
	return &Assistant{names: names, files: files}
}

// Reply returns the answer to a text. It is never empty, has at most 4096 bytes
// and no control character except newline.
func (a *Assistant) Reply(ctx context.Context, text string) string {
	if !strings.HasPrefix(text, "/") {
		return count(len(strings.Fields(text)), "word") + ", " + count(utf8.RuneCountInString(text), "character")
	}
	command, argument := text, ""
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		command, argument = text[:i], strings.TrimSpace(text[i:])
	}
	switch command {
	case "/help":
		return help
	case "/time":
		return time.Now().UTC().Format(time.RFC3339)
	case "/who":
		return strings.Join(a.names(), ", ")
	case "/files":
		return a.list(ctx)
	case "/calc":
		return calculate(argument)
	}
	return fmt.Sprintf("I do not know %s. /help lists my commands.", printable(command))
}

func (a *Assistant) list(ctx context.Context) string {
	names, more, err := a.files(ctx, maxFiles)
	switch {
	case err != nil:
		return "I cannot read the root directory."
	case len(names) == 0:
		return "The root directory is empty."
	}
	var listing strings.Builder
	for _, name := range names {
		name = printable(name) + "\n"
		if listing.Len()+len(name) > maxListing {
			more = true
			break
		}
		listing.WriteString(name)
	}
	if more {
		listing.WriteString("and more\n")
	}
	return strings.TrimSuffix(listing.String(), "\n")
}

func calculate(expression string) string {
	value, err := Evaluate(expression)
	if err != nil {
		return "I cannot calculate that: " + err.Error() + "."
	}
	return strconv.FormatFloat(value, 'g', -1, 64)
}

// printable returns a form of any text that can be shown.
func printable(text string) string {
	if runes := []rune(text); len(runes) > maxShown {
		text = string(runes[:maxShown]) + "..."
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// count returns "1 word" or "2 words".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}
