package h2

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// A decompressed message is up to a thousand times as large as the compressed one. The room
// for what arrives does not show that: 60 calls with 15 KiB each took half a gigabyte. So
// the room is taken for the decompressed message: while it is decompressed, and then until
// its call ends or receives its next message. A program accepts compressed messages if a
// compressor is registered with grpc. A package that the program links may register one.

// gzipName is the name that grpc's package encoding/gzip registers.
const gzipName = "gzip"

// firstInflated is the capacity, in bytes, with which the decompression of a message
// begins.
const firstInflated = 4 << 10

// inflateMark is in the error of a call for whose decompressed message there is no room.
// grpc gives that call codes.Internal, whatever the error of a decompressor is.
const inflateMark = "there is no room for what a compressed message becomes"

// inflater decompresses messages of gzip, the only compressor in grpc. It stops as soon as
// there is no room for more.
type inflater struct {
	side    string
	room    *room
	readers sync.Pool // of *gzip.Reader
}

// inflateWith returns the options of a server that accepts gzip if grpc would.
func inflateWith(side string, r *room) []grpc.ServerOption {
	if encoding.GetCompressor(gzipName) == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.RPCDecompressor(&inflater{side: side, room: r})} //nolint:staticcheck // a registered compressor is the whole program's
}

// Type implements [grpc.Decompressor].
func (*inflater) Type() string { return gzipName }

// Do implements [grpc.Decompressor]. It returns one byte more than a message may have if
// there is more, which grpc refuses.
func (i *inflater) Do(r io.Reader) ([]byte, error) {
	z, _ := i.readers.Get().(*gzip.Reader)
	var err error
	if z == nil {
		z, err = gzip.NewReader(r)
	} else {
		err = z.Reset(r)
	}
	if err != nil {
		return nil, err
	}
	defer i.readers.Put(z)
	var taken uint32
	defer func() { i.room.give(taken) }()
	most := int(i.room.largest) + 1
	out := make([]byte, 0, min(firstInflated, most))
	for {
		n, err := z.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case errors.Is(err, io.EOF) || len(out) == most:
			return out, nil
		case err != nil:
			return nil, err
		case len(out) == cap(out):
			grown := min(2*cap(out), most)
			more := uint32(grown - cap(out)) //nolint:gosec // at most the limit on one message
			if !i.room.take(more) {
				i.room.refused()
				return nil, fmt.Errorf("%s: raise the limit with %s.WithMaxBuffered", inflateMark, i.side)
			}
			taken += more
			out = append(make([]byte, 0, grown), out...)
		}
	}
}

// isCompressed reports whether the caller compresses the messages of a call.
func isCompressed(ctx context.Context) bool {
	s, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
	return ok && s.RecvCompress() != "" && s.RecvCompress() != encoding.Identity
}

// messageRoom is the room that a call has taken for its last message.
type messageRoom struct {
	bounds *bounds
	taken  uint32
}

// receive reads a message into m. It gives back the room of the message before it, and
// takes the room of this one.
func (i *messageRoom) receive(m any, read func(m any) error) error {
	i.end()
	if err := read(m); err != nil {
		return err
	}
	message, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	size := uint32(proto.Size(message)) //nolint:gosec // at most the limit on one message
	if size <= smallMessage {
		return nil
	}
	if !i.bounds.room.take(size) {
		i.bounds.room.refused()
		return calls.NoRoom(i.bounds.side, true)
	}
	i.taken = size
	return nil
}

func (i *messageRoom) end() {
	i.bounds.room.give(i.taken)
	i.taken = 0
}

// inflatedStream is a stream of a call whose messages are compressed.
type inflatedStream struct {
	grpc.ServerStream
	room messageRoom
}

// RecvMsg implements [grpc.ServerStream].
func (s *inflatedStream) RecvMsg(m any) error { return s.room.receive(m, s.ServerStream.RecvMsg) }
