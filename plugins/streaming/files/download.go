package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/internal/filehash"
	"github.com/plugwire/plugwire/plugins/streaming/internal/refuse"
)

// ChunkSize is the size of a download's chunk, in bytes. A larger one is not
// faster, as BenchmarkDownload of package handler shows, and a smaller one is
// slower: 64 KiB by a quarter. A transfer has a few chunks in memory.
const ChunkSize = 256 << 10

// settleTime is how old a change of a file must be so that the next change has
// another time: twice the tick of the file system's clock, which is 10 ms at the
// longest.
const settleTime = 20 * time.Millisecond

// A Download sends one version of a file, or the rest of it. It is not safe for
// concurrent use.
type Download struct {
	store  *Store
	name   string
	file   *os.File
	begun  fs.FileInfo
	offset int64
	sum    hash.Hash
}

// A Chunk is a piece of a file.
type Chunk struct {
	Data   []byte // the caller may keep it
	Offset int64  // offset of Data in the file
	Last   bool
	SHA256 []byte // checksum of the whole file; set in the last chunk
}

// Download begins a download at an offset. prefix is the checksum of the bytes
// before, which the caller has; it is empty at offset 0. The context bounds
// this call. The caller closes the download.
func (s *Store) Download(ctx context.Context, filePath string, offset int64, prefix []byte) (*Download, error) {
	name, err := s.clean(filePath)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix("offset", "prefix_sha256", offset, prefix); err != nil {
		return nil, err
	}
	file, err := s.openRegular(name)
	if err != nil {
		return nil, err
	}
	d := &Download{store: s, name: name, file: file}
	if err := d.begin(ctx, offset, prefix); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openRegular opens a regular file for reading. It refuses anything else
// without opening it, because opening a device may have an effect.
func (s *Store) openRegular(name string) (*os.File, error) {
	info, err := s.root.Stat(name)
	if err != nil {
		return nil, s.status(name, err)
	}
	if err := notRegular(name, info); err != nil {
		return nil, err
	}
	file, err := s.root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, s.status(name, err)
	}
	// Another file may have got the name meanwhile.
	if info, err = file.Stat(); err != nil {
		err = s.status(name, err)
	} else {
		err = notRegular(name, info)
	}
	if err != nil {
		_ = file.Close() // nothing was read from the file
		return nil, err
	}
	return file, nil
}

// begin records the version of the file, and moves to the offset.
func (d *Download) begin(ctx context.Context, offset int64, prefix []byte) error {
	var err error
	if d.begun, err = d.file.Stat(); err != nil {
		return d.store.status(d.name, err)
	}
	if err := settle(ctx, time.Since(d.begun.ModTime())); err != nil {
		return d.store.status(d.name, err)
	}
	if offset > d.begun.Size() {
		return status.Errorf(codes.Aborted, "%s has %d bytes, fewer than the %d that the caller has: the file has changed",
			quote(d.name), d.begun.Size(), offset)
	}
	d.sum, err = filehash.Prefix(ctx, d.file, offset)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return d.changed()
	case err != nil:
		return d.store.status(d.name, err)
	}
	if offset > 0 && !bytes.Equal(d.sum.Sum(nil), prefix) {
		return status.Errorf(codes.Aborted, "the first %d bytes of %s are not those that the caller has: the file has changed", offset, quote(d.name))
	}
	d.offset = offset
	return d.unchanged()
}

// Size returns the size of the whole file.
func (d *Download) Size() int64 { return d.begun.Size() }

// Next returns the next chunk. Do not call it after the last chunk.
func (d *Download) Next() (Chunk, error) {
	// Each chunk needs a new buffer, because grpc may use a message after it was
	// sent (see ServerStream.SendMsg). One buffer for all would save about a
	// fifth of the time.
	data := make([]byte, min(d.store.chunk, d.Size()-d.offset))
	_, err := io.ReadFull(d.file, data)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Chunk{}, d.changed()
	case err != nil:
		return Chunk{}, d.store.status(d.name, err)
	}
	// Checking after the read proves that the data is of the version with which
	// the download began.
	if err := d.unchanged(); err != nil {
		return Chunk{}, err
	}
	d.sum.Write(data)
	chunk := Chunk{Data: data, Offset: d.offset}
	d.offset += int64(len(data))
	if d.offset == d.Size() {
		chunk.Last, chunk.SHA256 = true, d.sum.Sum(nil)
	}
	return chunk, nil
}

// Close ends the download.
func (d *Download) Close() { _ = d.file.Close() } // the file was only read

// unchanged returns an error if the file has changed. A new file under its name
// does not matter, because this one is still open.
func (d *Download) unchanged() error {
	now, err := d.file.Stat()
	switch {
	case err != nil:
		return d.store.status(d.name, err)
	case now.Size() != d.begun.Size() || !now.ModTime().Equal(d.begun.ModTime()):
		return d.changed()
	}
	return nil
}

func (d *Download) changed() error {
	return status.Errorf(codes.Aborted, "%s was changed while it was sent: get the file again", quote(d.name))
}

// settle waits until the next change of a file will change its time. age is the
// time since the last change. It does not wait for a time in the future.
func settle(ctx context.Context, age time.Duration) error {
	if age < 0 || age >= settleTime {
		return nil
	}
	timer := time.NewTimer(settleTime - age)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkPrefix checks a request's offset and the checksum of the bytes before
// it. The names are those of the two fields.
func checkPrefix(offsetField, prefixField string, offset int64, prefix []byte) error {
	switch {
	case offset < 0:
		return refuse.Invalid(offsetField, "%s must not be negative, and is %d", offsetField, offset)
	case offset == 0 && len(prefix) > 0:
		return refuse.Invalid(prefixField, "%s is given, but nothing is before offset 0", prefixField)
	case offset > 0 && len(prefix) != sha256.Size:
		return refuse.Invalid(prefixField, "%s has %d bytes, with an offset it must have %d", prefixField, len(prefix), sha256.Size)
	}
	return nil
}
