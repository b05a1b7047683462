package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The preamble of a stream (docs/protocol.md, section 9).
const (
	magic        = "\x00PLUGWIRE\n"
	preambleSize = 16
	maxIdentity  = 64
)

// The purposes of streams.
const (
	PurposeCalls     = 1
	PurposeCallbacks = 2
)

// readPreamble reads the preamble into s, and nothing beyond.
func readPreamble(r io.Reader, s *Stream) error {
	head := make([]byte, preambleSize)
	n, err := io.ReadFull(r, head)
	if err != nil {
		return fmt.Errorf("%d bytes of a preamble: %w", n, err)
	}
	if string(head[:len(magic)]) != magic {
		return fmt.Errorf("no preamble: the first bytes are % x", head)
	}
	s.Preamble, s.Version, s.Purpose = true, int(head[10]), int(head[11])
	name, identity := int(binary.BigEndian.Uint16(head[12:])), int(head[14])
	switch {
	case s.Version != 1 && s.Version != 2:
		return fmt.Errorf("version %d of the preamble", s.Version)
	case s.Version == 1 && identity != 0, s.Version == 2 && (identity == 0 || identity > maxIdentity):
		return fmt.Errorf("an identity of %d bytes in version %d of the preamble", identity, s.Version)
	case head[15] != 0:
		return errors.New("the reserved byte of the preamble is not 0")
	case s.Purpose < 1 || s.Purpose > 5:
		return fmt.Errorf("purpose %d", s.Purpose)
	case name > 255:
		return fmt.Errorf("a name of %d bytes", name)
	case name > 0 && s.Purpose != 3 && s.Purpose != 4:
		return fmt.Errorf("a name for purpose %d", s.Purpose)
	}
	rest := make([]byte, name+identity)
	if _, err := io.ReadFull(r, rest); err != nil {
		return fmt.Errorf("the end of the preamble: %w", err)
	}
	s.Name, s.Identity = string(rest[:name]), string(rest[name:])
	return nil
}
