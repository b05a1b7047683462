package filehash_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/plugwire/plugwire/plugins/streaming/internal/filehash"
)

func TestPrefix(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 60_000) // two reads and some more bytes
	for _, n := range []int{0, 1, 256 << 10, 300_000, len(data)} {
		f := bytes.NewReader(data)
		f.Seek(7, io.SeekStart)
		sum, err := filehash.Prefix(t.Context(), f, int64(n))
		if err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(data[:n]); !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Errorf("the sum of %d bytes is wrong", n)
		}
		if rest, _ := io.ReadAll(f); len(rest) != len(data)-n {
			t.Errorf("after %d bytes %d are left", n, len(rest))
		}
	}
	for _, data := range [][]byte{data, nil} {
		if _, err := filehash.Prefix(t.Context(), bytes.NewReader(data), int64(len(data)+1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v of a file that is too short", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := filehash.Prefix(ctx, bytes.NewReader(data), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}
