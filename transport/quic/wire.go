package quic

import (
	"fmt"
	"io"

	"github.com/quic-go/quic-go"
)

// The first byte of a connection's first stream, the control stream, announces
// the streams that the host will open.
const (
	manyStreams byte = 0
	oneStream   byte = 1
)

// firstByte starts every other stream, and the plugin's side of the control
// stream. A stream exists for the plugin when something of it has arrived, and
// its user may wait for the plugin to speak first.
const firstByte byte = 0

// callByte starts a stream that either side opens for the other side's AcceptStream.
const callByte byte = 1

// These codes tell why a connection is closed.
const (
	codeDone     quic.ApplicationErrorCode = 0 // its owner has closed it
	codeProtocol quic.ApplicationErrorCode = 1 // the peer does not speak quic/1
)

// These codes tell why one direction of a stream is stopped.
const (
	codeClosed   quic.StreamErrorCode = 0 // its owner has closed the stream
	codeRefused  quic.StreamErrorCode = 1 // the listener is closed, or the one announced stream was opened before
	codeBadStart quic.StreamErrorCode = 2 // the first byte is wrong or late

	// firstFreeCode is the first one of those that belong to the streams' users.
	firstFreeCode quic.StreamErrorCode = 16
)

// readByte reads the byte that starts a stream.
func readByte(r io.Reader) (byte, error) {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	return b[0], nil
}

// expectByte reads the byte that starts a stream and checks it.
func expectByte(r io.Reader, want byte) error {
	b, err := readByte(r)
	if err == nil && b != want {
		err = fmt.Errorf("the stream starts with byte %#x, want %#x", b, want)
	}
	return err
}

// refuse ends a stream that no Accept returns.
func refuse(str *quic.Stream, code quic.StreamErrorCode) {
	str.CancelRead(code)
	str.CancelWrite(code)
}
