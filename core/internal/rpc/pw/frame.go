package pw

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// kind is the type of a frame.
type kind byte

const (
	frameOpen    kind = 1  // a call begins
	frameHeader  kind = 2  // the server's metadata before its first message
	frameMessage kind = 3  // a message
	frameBegin   kind = 4  // a large message begins: its size
	framePiece   kind = 5  // a part of a large message
	frameHalf    kind = 6  // the caller sends no more messages
	frameEnd     kind = 7  // the status of a call, which is over
	frameCancel  kind = 8  // the caller has given up
	frameCredit  kind = 9  // so many more bytes of messages may be sent
	frameGoodbye kind = 10 // all answers are sent: the other side closes the connection
	frameHello   kind = 11 // the plugin has let the connection in
)

// The flags of an open frame.
const (
	openNewMethod byte = 1 << iota // the name of the method follows
	openDeadline                   // a timeout follows
	openMetadata                   // metadata follows
	openSubtype                    // the name of a codec follows
	openMessage                    // the rest is the only message of the call
)

// The flags of an end frame.
const (
	endHeader  byte = 1 << iota // metadata follows that was not sent before
	endStatus                   // a google.rpc.Status follows; without it the call is OK
	endTrailer                  // metadata follows
	endMessage                  // the rest is a message
	endAgain                    // the stream may carry another call; only on a stream of the call's own
)

const (
	// headerLen is the length of a frame's header: three bytes for the length of the
	// payload, one for the kind, four for the number of the call.
	headerLen = 8
	// smallMessage is the size up to which a message travels in one frame, which is copied
	// on its way. A larger one is read straight into its own memory, and others wait less
	// for it.
	smallMessage = 32 << 10
	// pieceSize is the size of a part of a large message, after which other frames may
	// go first.
	pieceSize = 256 << 10
	// maxFrame bounds the payload of a frame, in bytes: a status of 2 MiB (package calls
	// bounds its text and its details), metadata of 1 MiB twice, and a small message.
	maxFrame = 6 << 20
	// maxMethod bounds the name of a method, in bytes. HTTP/2's bound on metadata counts
	// there.
	maxMethod = 8 << 10
	// maxMethods is how many names of methods a connection remembers. A name beyond that
	// travels with each call.
	maxMethods = 4096
	// maxNumbered is how long a name is, in bytes, that a connection remembers: together
	// they have at most 1 MiB.
	maxNumbered = 256
)

// maxPayload bounds the payloads of the kinds of frames, in bytes.
var maxPayload = [...]int{
	frameOpen:    1 + 10 + maxMethod + 10 + calls.MaxMetadata + maxSubtype + smallMessage + 4*longestNumber,
	frameHeader:  calls.MaxMetadata,
	frameMessage: smallMessage,
	frameBegin:   longestNumber,
	framePiece:   pieceSize,
	frameHalf:    0,
	frameEnd:     maxFrame,
	frameCancel:  0,
	frameCredit:  longestNumber,
	frameGoodbye: longestNumber,
	frameHello:   0,
}

// longestNumber is the length of the longest number, in bytes.
const longestNumber = binary.MaxVarintLen64

// isBefore reports whether call a began before call b. Numbers begin again after the last
// one: a connection can carry more calls than there are numbers.
func isBefore(a, b uint32) bool { return int32(a-b) < 0 } //nolint:gosec // meant to wrap

// frame is a frame that has come. Its payload is valid until the next read.
type frame struct {
	kind    kind
	id      uint32
	payload []byte
}

// putHeader fills b with the header of a frame. The header of a frame on a stream of the call's
// own has no number.
func putHeader(b []byte, k kind, id uint32, payload int) {
	putLength(b, payload)
	b[3] = byte(k)
	if len(b) == headerLen {
		binary.LittleEndian.PutUint32(b[4:], id)
	}
}

// putLength writes the length of the payload into a header.
func putLength(b []byte, payload int) {
	b[0], b[1], b[2] = byte(payload), byte(payload>>8), byte(payload>>16) //nolint:gosec // at most maxFrame
}

// parseHeader reads the header of a frame.
func parseHeader(b []byte) (k kind, id uint32, payload int) {
	word := binary.LittleEndian.Uint32(b)
	return kind(word >> 24), binary.LittleEndian.Uint32(b[4:]), int(word & (1<<24 - 1))
}

// errProtocol ends a connection whose other side breaks the rules of the wire.
var errProtocol = errors.New("the other side broke the rules of the wire pw/1")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

func short() error { return broken("a frame is too short for what it says it has") }

// uvarint takes a number from the beginning of b.
func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, short()
	}
	return v, b[n:], nil
}

// block takes bytes with a length before them from the beginning of b.
func block(b []byte, limit int) (taken, rest []byte, err error) {
	n, b, err := uvarint(b)
	switch {
	case err != nil:
		return nil, nil, err
	case n > uint64(limit): //nolint:gosec // positive
		return nil, nil, broken("%d bytes, and at most %d are allowed", n, limit)
	case n > uint64(len(b)):
		return nil, nil, short()
	}
	return b[:n:n], b[n:], nil
}

func appendBlock(b, taken []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(taken))), taken...)
}

// appendUvarint adds a number.
func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
