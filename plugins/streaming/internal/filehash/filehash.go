// Package filehash hashes what is there of a file that is on its way, so that the
// two sides can agree on it.
package filehash

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// readSize is how much is read at a time.
const readSize = 256 << 10

// Prefix returns the SHA-256 of the first n bytes of f, to go on with, and leaves f
// behind them. The error is io.ErrUnexpectedEOF if there are fewer.
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
