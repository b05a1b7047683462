package handshake

import (
	"strings"
	"unicode"
)

// Code classifies an [Error].
type Code string

// The codes. They are part of the wire: a plugin's answer carries error=code:text.
const (
	CodeCookie    Code = "cookie"    // no host started the plugin, or a host with another cookie did
	CodeOffer     Code = "offer"     // the offer is malformed or demands something unknown
	CodeAnswer    Code = "answer"    // the answer is malformed
	CodeCore      Code = "core"      // the answer line has another version
	CodeProtocol  Code = "protocol"  // the protocols have different names
	CodeVersion   Code = "version"   // no common protocol version
	CodeTransport Code = "transport" // no common transport, or the plugin could open none of them
	CodeSession   Code = "session"   // no common session kind
	CodeWire      Code = "wire"      // no common wire
	CodeSecurity  Code = "security"  // no common security, or the answer's is weaker than the offer's
	CodeInternal  Code = "internal"  // the plugin could not serve for a reason of its own
)

// Error is why a host and a plugin did not agree. It is inside host.StartError.
//
//	switch {
//	case errors.Is(err, &handshake.Error{Code: handshake.CodeVersion}):
//		// host and plugin have no version in common
//	}
type Error struct {
	// Code classifies the error, for programs.
	Code Code
	// Reason says what happened, and on which side.
	Reason string
	// Host and Plugin are what each side offered of the thing that failed. The side
	// that reports the error may not know what the other side offered.
	Host, Plugin string
	// Hint is what to do about the error; may be empty.
	Hint string
}

// Is reports whether target is an [*Error] of the same code. The other fields of
// target must be empty: they are for people.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && *t == Error{Code: e.Code}
}

// Error returns the reason, both offers and the hint, as one line of bounded length
// without control characters: parts of them may be the other side's words.
func (e *Error) Error() string {
	text := oneLine(e.Reason)
	host, plugin := oneLine(e.Host), oneLine(e.Plugin)
	switch {
	case host != "" && plugin != "":
		text += " (host: " + host + "; plugin: " + plugin + ")"
	case host != "":
		text += " (host: " + host + ")"
	case plugin != "":
		text += " (plugin: " + plugin + ")"
	}
	if e.Hint != "" {
		text += ": " + oneLine(e.Hint)
	}
	return text
}

// maxShown bounds each part of an error's text, in bytes. It is enough for the longest
// path that a system allows, with an explanation around it.
const maxShown = 4 << 10

func clip(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "..."
	}
	return s
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, clip(s))
}
