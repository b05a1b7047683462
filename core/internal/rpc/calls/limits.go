package calls

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// DefaultMaxMessageSize is the limit on one message, in either direction and on
	// either side. Terraform, the largest user of this handshake, raises go-plugin's 4
	// MiB to this size.
	DefaultMaxMessageSize = 256 << 20

	// DefaultMaxCalls is how many calls of the other side may be in flight. A thousand
	// callers stay below the limit, also if each call calls back and is called again.
	// The limit stops a loop of calls between the two sides, and a peer that opens
	// calls and never ends them.
	DefaultMaxCalls = 2048

	// defaultBuffered is how many of the largest messages fit into the buffer for
	// calls, if no option says how large it is. It is at least minBuffered.
	defaultBuffered = 4
	minBuffered     = 64 << 20

	// metadataShare says that the metadata of calls may take a sixteenth of that
	// buffer. A peer pays little for metadata: a few hundred bytes of compressed
	// headers can take a megabyte of memory here.
	metadataShare = 16

	// MaxMetadata bounds the metadata of a call, in bytes. This side sends the limit to
	// the other side, so that metadata over the limit ends a call there and not the
	// connection here.
	MaxMetadata = 1 << 20

	// MaxControl is how many streams of the framework's own services may be open.
	// A host has one of each.
	MaxControl = 128
)

// Limits bound what the other side's calls may hold of this side. The zero value
// of a field is its default.
type Limits struct {
	// Calls in flight.
	Calls int
	// Buffered is the number of bytes that are held for calls before their handlers
	// have them. They are messages on their way and, up to a sixteenth, metadata.
	Buffered int
}

// WithDefaults returns the limits with a default where a field is zero.
func (l Limits) WithDefaults(maxMessageSize int) Limits {
	if l.Calls == 0 {
		l.Calls = DefaultMaxCalls
	}
	if l.Buffered == 0 {
		l.Buffered = max(min(maxMessageSize, math.MaxInt/defaultBuffered)*defaultBuffered, minBuffered)
	}
	return l
}

// Metadata is how many bytes of metadata all calls may hold. One call with as much as
// it may have always fits.
func (l Limits) Metadata() int { return max(l.Buffered/metadataShare, MaxMetadata) }

// exhausted is the status of a call that is refused, and has not begun.
func exhausted(reason, format string, args ...any) error {
	return refused(reason, codes.ResourceExhausted, fmt.Sprintf(format, args...)).Err()
}

// TooManyCalls is the status of a call beyond the limit on calls in flight. It says which
// option raises the limit. The limits are those of this side, and so is the option.
func TooManyCalls(side, other string, limit int) error {
	return exhausted(reasonCalls, "%d calls of the %s are in flight in the %s, which is the limit: raise it with %s.WithMaxCalls, or end calls", limit, other, side, side)
}

// TooMuchMetadata is the status of a call whose metadata does not fit.
func TooMuchMetadata(side, other string, limit int) error {
	return exhausted(reasonMetadata, "the metadata of the calls of the %s that are in flight in the %s takes %d bytes, which is the limit: raise it with %s.WithMaxBuffered, or send less", other, side, limit, side)
}

func tooManyControl(side string) error {
	return exhausted(reasonCalls, "%d streams of the framework's own services are open in the %s, which is the limit", MaxControl, side)
}

// RaiseMessageSize is the end of an error about a message that is too large.
const RaiseMessageSize = "; raise the limit on both sides with host.WithMaxMessageSize and plugin.WithMaxMessageSize"

// TooLarge returns the error of a message that is larger than the limit on one message.
// verb is what this side does with it: send or receive. The text is grpc's (rpc_util.go and
// server.go there), with what to do.
func TooLarge(verb string, size, limit int) error {
	text := "trying to send message larger than max"
	if verb == "receive" {
		text = "grpc: received message larger than max"
	}
	return status.Errorf(codes.ResourceExhausted, "%s (%d vs. %d)%s", text, size, limit, RaiseMessageSize)
}

// NoRoom is the status of a call whose message does not fit. other is the side that the
// message was sent to. Its option begins with the first word of other, which the name of
// a plugin may follow. begun says whether the handler can have begun: it has not if the
// message is the only one of its call.
func NoRoom(other string, begun bool) error {
	side, _, _ := strings.Cut(other, " ")
	text := fmt.Sprintf("the %s has no room for the message beside those that are on their way to it: raise the limit with %s.WithMaxBuffered, or send fewer large messages at once", other, side)
	if begun {
		return status.Error(codes.ResourceExhausted, text)
	}
	return exhausted(reasonRoom, "%s", text)
}
