package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Purpose is what a stream is for.
type Purpose byte

// The purposes. The host opens every stream, whoever speaks first on it.
const (
	Calls     Purpose = 1 // the host is gRPC's client and the plugin its server
	Callbacks Purpose = 2 // the plugin is gRPC's client and the host its server
	Offered   Purpose = 3 // bytes: the host has opened a stream, which the plugin accepts by its name
	Awaited   Purpose = 4 // bytes: the host accepts a stream, which the plugin opens by its name
	Carrier   Purpose = 5 // the one connection of a yamux session, which carries all the others
)

// A Preamble is the first bytes that a Plugwire host sends on each connection
// to a Plugwire plugin (docs/protocol.md, "Preamble"): ten bytes of magic, the
// version, the purpose, the length of a name and two zero bytes, then the name.
// The first byte is neither HTTP/2's nor TLS's.
type Preamble struct {
	Purpose Purpose
	// Name says which of several streams is meant, Offered or Awaited; empty
	// for any other purpose.
	Name string
}

const (
	magic           = "\x00PLUGWIRE\n"
	preambleVersion = 1
	preambleLen     = len(magic) + 6
	// maxName bounds a stream's name, in bytes, which the reader allocates
	// before it knows the peer.
	maxName = 255
)

// ErrNoPreamble is returned for a connection that starts with other bytes.
var ErrNoPreamble = errors.New("the connection does not start with Plugwire's preamble")

// WriteTo writes the preamble in one Write.
func (p Preamble) WriteTo(w io.Writer) (int64, error) {
	if len(p.Name) > maxName {
		return 0, errLongName(p.Name)
	}
	b := make([]byte, 0, preambleLen+len(p.Name))
	b = append(b, magic...)
	b = append(b, preambleVersion, byte(p.Purpose))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Name))) //nolint:gosec // bounded above
	b = append(b, 0, 0)
	b = append(b, p.Name...)
	n, err := w.Write(b)
	return int64(n), err
}

// ReadPreamble reads exactly the preamble and not a byte more.
func ReadPreamble(r io.Reader) (Preamble, error) {
	var b [preambleLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Preamble{}, fmt.Errorf("read preamble: %w", err)
	}
	if !bytes.HasPrefix(b[:], []byte(magic)) {
		return Preamble{}, ErrNoPreamble
	}
	rest := b[len(magic):]
	if rest[0] != preambleVersion {
		return Preamble{}, fmt.Errorf("preamble version %d, want %d", rest[0], preambleVersion)
	}
	if rest[4] != 0 || rest[5] != 0 {
		return Preamble{}, errors.New("preamble: reserved bytes are not zero")
	}
	p := Preamble{Purpose: Purpose(rest[1])}
	n := int(binary.BigEndian.Uint16(rest[2:4]))
	if n > maxName {
		return Preamble{}, fmt.Errorf("preamble: name of %d bytes, at most %d are allowed", n, maxName)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return Preamble{}, fmt.Errorf("read preamble: %w", err)
	}
	p.Name = string(name)
	return p, nil
}

func errLongName(name string) error {
	return fmt.Errorf("stream name of %d bytes, at most %d are allowed", len(name), maxName)
}
