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

// The purposes. The host opens every stream, whichever side then sends first.
const (
	Calls     Purpose = 1 // the host is gRPC's client and the plugin its server
	Callbacks Purpose = 2 // the plugin is gRPC's client and the host its server
	Offered   Purpose = 3 // bytes: the host has opened a stream, which the plugin accepts by its name
	Awaited   Purpose = 4 // bytes: the host accepts a stream, which the plugin opens by its name
	Carrier   Purpose = 5 // the one connection of a yamux session, which carries all the others
)

// Preamble is the first bytes that a Plugwire host sends on each stream to a Plugwire
// plugin (docs/protocol.md, "Preamble"): magic (ten bytes), version, purpose, the
// lengths of name and identity, a zero byte, name, identity. The first byte is
// neither HTTP/2's nor TLS's.
type Preamble struct {
	Purpose Purpose
	// Name distinguishes the streams with purpose Offered or Awaited. It is empty
	// for any other purpose.
	Name string
	// Session is the identity of the session, which the host has chosen. It is empty in
	// version 1, which has none.
	Session string
}

const (
	magic       = "\x00PLUGWIRE\n"
	preambleLen = len(magic) + 6
	// maxName bounds a stream's name, and maxIdentity the identity of a session, in
	// bytes. The reader allocates them before it knows the peer.
	maxName     = 255
	maxIdentity = 64
)

// Versions of the preamble. Version 2 adds the identity of the session.
const (
	versionPlain    = 1
	versionIdentity = 2

	// PreambleVersion is the highest version that this package reads.
	PreambleVersion = versionIdentity
)

// ErrNoPreamble is returned for a connection that starts with other bytes.
var ErrNoPreamble = errors.New("the connection does not start with Plugwire's preamble")

// WriteTo writes the preamble in one Write.
func (p Preamble) WriteTo(w io.Writer) (int64, error) {
	if len(p.Name) > maxName {
		return 0, errLongName(p.Name)
	}
	if len(p.Session) > maxIdentity {
		return 0, errLongIdentity(len(p.Session))
	}
	version := byte(versionPlain)
	if p.Session != "" {
		version = versionIdentity
	}
	b := make([]byte, 0, preambleLen+len(p.Name)+len(p.Session))
	b = append(b, magic...)
	b = append(b, version, byte(p.Purpose))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Name))) //nolint:gosec // bounded above
	b = append(b, byte(len(p.Session)), 0)                    //nolint:gosec // bounded above
	b = append(b, p.Name...)
	b = append(b, p.Session...)
	n, err := w.Write(b)
	return int64(n), err
}

// ReadPreamble reads the preamble, and not a byte more.
func ReadPreamble(r io.Reader) (Preamble, error) {
	var b [preambleLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Preamble{}, fmt.Errorf("read preamble: %w", err)
	}
	if !bytes.HasPrefix(b[:], []byte(magic)) {
		return Preamble{}, ErrNoPreamble
	}
	rest := b[len(magic):]
	version, identity := rest[0], int(rest[4])
	switch {
	case version != versionPlain && version != versionIdentity:
		return Preamble{}, fmt.Errorf("preamble version %d, want at most %d", version, PreambleVersion)
	case rest[5] != 0 || version == versionPlain && identity != 0:
		return Preamble{}, errors.New("preamble: reserved bytes are not zero")
	case version == versionIdentity && identity == 0:
		return Preamble{}, errors.New("preamble: the identity of the session is empty")
	case identity > maxIdentity:
		return Preamble{}, errLongIdentity(identity)
	}
	n := int(binary.BigEndian.Uint16(rest[2:4]))
	if n > maxName {
		return Preamble{}, fmt.Errorf("preamble: name of %d bytes, at most %d are allowed", n, maxName)
	}
	text := make([]byte, n+identity)
	if _, err := io.ReadFull(r, text); err != nil {
		return Preamble{}, fmt.Errorf("read preamble: %w", err)
	}
	return Preamble{Purpose: Purpose(rest[1]), Name: string(text[:n]), Session: string(text[n:])}, nil
}

func errLongIdentity(n int) error {
	return fmt.Errorf("preamble: identity of %d bytes, at most %d are allowed", n, maxIdentity)
}

func errLongName(name string) error {
	return fmt.Errorf("stream name of %d bytes, at most %d are allowed", len(name), maxName)
}
