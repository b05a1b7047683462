// Package filehash hashes the received part of a file, so that the two sides can
// compare it.
package filehash

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// readSize is how many bytes one read asks for.
const readSize = 256 << 10

// Prefix returns the SHA-256 of the first n bytes of f, which can be continued, and
// leaves f after these bytes. The error is io.ErrUnexpectedEOF if f has fewer.
func Prefix(ctx context.Context, f io.ReadSeeker, n int64) (hash.Hash, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	sum := sha256.New()
	buffer := make([]byte, min(n, readSize))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := buffer[:min(n, readSize)]
		if _, err := io.ReadFull(f, part); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		sum.Write(part)
		n -= int64(len(part))
	}
	return sum, nil
}
