package chat

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/internal/refuse"
)

// Assistant is the user whose replies follow the messages. No participant can
// have this name.
const Assistant = "assistant"

// MaxText is the size of the longest text, in bytes: a page.
const MaxText = 4096

// validName has no characters of other alphabets, because some look like these.
var validName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,32}$`)

func checkName(name string) error {
	switch {
	case !validName.MatchString(name):
		return refuse.Invalid("user", "the name %.64q is not 1 to 32 of A-Z, a-z, 0-9, _, - and .", name)
	case strings.EqualFold(name, Assistant):
		return status.Errorf(codes.PermissionDenied, "the name %s is the assistant's", name)
	}
	return nil
}

func wrongUser(name, joined string) error {
	return refuse.Invalid("user", "a message of %.64q on the stream of %s: each participant has a stream of its own", name, joined)
}

// checkText refuses texts that could control a reader's terminal.
func checkText(text string) error {
	switch {
	case text == "":
		return refuse.Invalid("text", "text is required")
	case len(text) > MaxText:
		return refuse.Invalid("text", "text has %d bytes, at most %d are allowed", len(text), MaxText)
	case !utf8.ValidString(text):
		return refuse.Invalid("text", "text is not UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }):
		return refuse.Invalid("text", "text has a control character other than tab and newline")
	}
	return nil
}
