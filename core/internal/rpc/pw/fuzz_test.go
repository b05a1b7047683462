package pw

import (
	"bytes"
	"context"
	"io"
	"net"
	"reflect"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/plugwire/plugwire/core/transport"
)

// FuzzFrame reads frames from any bytes. What is read is what was written.
func FuzzFrame(f *testing.F) {
	f.Add(encoded(frameMessage, 1, 'x'))
	f.Add(append(encoded(frameHalf, 1), encoded(framePiece, 3, 1, 2)...))
	f.Add([]byte{0xff, 0xff, 0xff, byte(frameEnd), 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := inbuf{buf: bytes.Clone(data), w: len(data)}
		var written []byte
		for {
			fr, ok, err := in.frame()
			if err != nil || !ok {
				break
			}
			if int(fr.kind) >= len(maxPayload) || len(fr.payload) > maxPayload[fr.kind] {
				t.Fatalf("kind %d with %d bytes", fr.kind, len(fr.payload))
			}
			if in.left > 0 {
				return // a part of a piece
			}
			written = append(written, encoded(fr.kind, fr.id, fr.payload...)...)
		}
		if !bytes.HasPrefix(data, written) {
			t.Fatalf("%x was read as %x", data, written)
		}
	})
}

// FuzzMetadata parses blocks of metadata.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("\x01a\x01b\x01a\x00"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := checkMetadata(data); err != nil {
			return
		}
		want := metadata.MD{}
		for b := data; len(b) > 0; {
			name, rest, _ := block(b, len(b)) // it was checked
			value, after, _ := block(rest, len(rest))
			want[string(name)] = append(want[string(name)], string(value))
			b = after
		}
		want["extra"] = []string{"value"}
		if got := parseMetadata(nil, string(data), extra{"extra", "value"}); !reflect.DeepEqual(got, want) {
			t.Fatalf("%x was read as %#v, and is %#v", data, got, want)
		}
	})
}

// frames makes a sequence of frames from bytes: mostly such as a peer could send whose last
// call has number last.
func frames(data []byte, last uint32) []byte {
	var out []byte
	next := func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	methods := []string{unaryName, duplexName, "/x/y", ""}
	for i := 0; len(data) > 0 && i < 200; i++ {
		op, id := next(), uint32(next()%16)
		var payload []byte
		k := kind(op%11 + 1)
		switch {
		case op >= 240: // any bytes
			n := min(int(next()), len(data))
			out = append(out, data[:n]...)
			data = data[n:]
			continue
		case k == frameOpen:
			if id < 14 {
				last += 2
				id = last
			}
			flags := next()
			number := uint64(next() % 4)
			if flags&openNewMethod == 0 && number == 0 {
				flags |= openNewMethod
			}
			payload = appendUvarint([]byte{flags}, number)
			if flags&openNewMethod != 0 {
				payload = appendString(payload, methods[next()%4])
			}
			if flags&openDeadline != 0 {
				payload = appendUvarint(payload, uint64(next())<<(next()%50))
			}
			if flags&openMetadata != 0 {
				payload = appendBlock(payload, appendString(appendString(nil, "a"), "b"))
			}
			if flags&openSubtype != 0 {
				payload = appendString(payload, "proto")
			}
		case k == frameBegin:
			payload = appendUvarint(nil, uint64(next())<<12)
		case k == framePiece:
			payload = make([]byte, int(next())<<8)
		case k == frameCredit:
			payload = appendUvarint(nil, uint64(next())<<(next()%40))
		case k == frameEnd:
			payload = []byte{next(), next() % 4, next()}
		case k == frameMessage:
			payload = make([]byte, int(next())<<(next()%9))
		}
		var header [headerLen]byte
		putHeader(header[:], k, id, len(payload))
		out = append(append(out, header[:]...), payload...)
	}
	return out
}

// FuzzPeer sends frames to a real plugin or host, which has calls of its own in flight. It may
// end the connection. It never panics, and it ends when it is closed.
func FuzzPeer(f *testing.F) {
	f.Add(false, []byte{0, 1, 17, 0, 0})
	f.Add(false, []byte{0, 1, 1, 0, 1, 2, 1, 5, 3, 3, 1, 17, 4, 1, 200, 7, 1, 8, 1, 3, 3})
	f.Add(true, []byte{1, 1, 2, 1, 5, 3, 6, 1, 0, 0, 0})
	f.Add(true, []byte{3, 1, 200, 4, 1, 250, 4, 1, 250, 6, 1, 2, 2, 8})
	f.Fuzz(func(t *testing.T, toHost bool, data []byte) {
		ours, theirs := net.Pipe()
		side, other, first := "plugin", "host", uint32(2)
		if toHost {
			side, other, first = "host", "plugin", 1
		}
		s, err := newServer(serverConfig(side, other, &service{}))
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(plainStream(theirs), clientConfig(side, other), s, first)
		s.add(c)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, ours)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		client := testpb.NewTestServiceClient(c.Plain())
		called := make(chan struct{}, 2)
		go func() {
			_, _ = client.UnaryCall(ctx, &request{})
			called <- struct{}{}
		}()
		go func() {
			if stream, err := client.FullDuplexCall(ctx); err == nil {
				for err == nil {
					_, err = stream.Recv()
				}
			}
			called <- struct{}{}
		}()
		_, _ = ours.Write(frames(data, first-1)) // fails if the other side ends the connection
		done := make(chan struct{})
		go func() {
			c.Close()
			s.Close()
			<-s.handlers.wait()
			<-called
			<-called
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(hang):
			panic("the connection does not end")
		}
		_ = ours.Close()
		<-drained
		if held := s.room.held.Load() + s.room.windows.Load() + s.room.fields.Load() + c.room.held.Load() + c.room.windows.Load(); held != 0 {
			t.Fatalf("%d bytes of the room are never given back", held)
		}
	})
}

// FuzzTrackFrame reads frames of a track from any bytes, which come in parts. What is read is what
// was written.
func FuzzTrackFrame(f *testing.F) {
	f.Add(trackFrame(frameMessage, 'x'), uint8(1))
	f.Add(append(trackFrame(frameHalf), trackFrame(framePiece, 1, 2)...), uint8(3))
	f.Add([]byte{0xff, 0xff, 0xff, byte(frameEnd)}, uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, part uint8) {
		var in trackBuf
		var written []byte
		from := iotest.HalfReader(bytes.NewReader(data))
		if part > 0 {
			from = &parts{data: data, most: int(part)}
		}
		for {
			fr, ok, err := in.frame()
			switch {
			case err != nil:
				return
			case !ok:
				if len(in.buf) > 2*trackGrowth*(len(data)+trackRead) {
					t.Fatalf("a buffer of %d bytes for %d", len(in.buf), len(data))
				}
				if in.fill(from) != nil {
					return
				}
				continue
			case !isOfTrack(fr.kind) || len(fr.payload) > maxPayload[fr.kind]:
				t.Fatalf("kind %d with %d bytes", fr.kind, len(fr.payload))
			case fr.kind == framePiece: // it comes in parts
				return
			}
			if written = append(written, trackFrame(fr.kind, fr.payload...)...); !bytes.HasPrefix(data, written) {
				t.Fatalf("%x was read as %x", data, written)
			}
		}
	})
}

// parts is a reader that returns a few bytes at a time.
type parts struct {
	data []byte
	most int
}

func (p *parts) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.most)], p.data)
	p.data = p.data[n:]
	return n, nil
}

// onTracks splits what frames makes into tracks: each call has one, and whatever is no frame goes to
// any of them.
func onTracks(data []byte) (tracks [4][]byte) {
	for rest := frames(data, 0); len(rest) >= headerLen; {
		k, id, n := parseHeader(rest)
		n = min(n, len(rest)-headerLen)
		l := &tracks[id/2%4]
		payload := rest[headerLen : headerLen+n]
		if k == frameOpen && len(payload) > 1 {
			payload = append([]byte{payload[0], 0}, payload[2:]...) // names have no numbers
		}
		*l = append(*l, trackFrame(k, payload...)...)
		rest = rest[headerLen+n:]
	}
	return tracks
}

// FuzzTracks sends frames on tracks to a real plugin or host, and answers its calls with them. It
// may end the connection. It never panics, and it ends when it is closed.
func FuzzTracks(f *testing.F) {
	f.Add(false, []byte{0, 1, 17, 0, 0})
	f.Add(false, []byte{0, 1, 1, 0, 1, 2, 1, 5, 3, 3, 1, 17, 4, 1, 200, 7, 1, 8, 1, 3, 3})
	f.Add(true, []byte{1, 1, 2, 1, 5, 3, 6, 1, 0, 0, 0})
	f.Add(true, []byte{3, 1, 200, 4, 1, 250, 4, 1, 250, 6, 1, 2, 2, 8})
	f.Fuzz(func(t *testing.T, toHost bool, data []byte) {
		side := "plugin"
		if toHost {
			side = "host"
		}
		ours, theirs := newMesh(t)
		other, first := "host", uint32(2)
		if toHost {
			other, first = "plugin", 1
		}
		s, err := newServer(serverConfig(side, other, &service{}))
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(plainStream(theirs), clientConfig(side, other), s, first)
		s.add(c)
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		client := testpb.NewTestServiceClient(c.Plain())
		called := make(chan struct{}, 2)
		go func() {
			_, _ = client.UnaryCall(ctx, &request{})
			called <- struct{}{}
		}()
		go func() {
			if stream, err := client.FullDuplexCall(ctx); err == nil {
				for err == nil {
					_, err = stream.Recv()
				}
			}
			called <- struct{}{}
		}()
		var drains sync.WaitGroup
		use := func(str transport.CancelableStream, b []byte, how int) {
			drains.Go(func() { _, _ = io.Copy(io.Discard, str) }) // until the track or the connection ends
			drains.Go(func() {
				_, _ = str.Write(b) // fails if the other side ends the track
				switch how % 3 {
				case 0:
					_ = str.Close()
				case 1:
					str.Cancel(uint32(how))
				}
			})
		}
		how := len(data)
		if len(data) > 0 {
			how += int(data[0])
		}
		for i, b := range onTracks(data) {
			if str, err := ours.OpenStream(); err == nil {
				use(str, b, how+i)
			}
			short, stop := context.WithTimeout(ctx, time.Millisecond)
			if str, err := ours.AcceptStream(short); err == nil {
				use(str, b, how+i)
			}
			stop()
		}
		done := make(chan struct{})
		go func() {
			c.Close()
			s.Close()
			<-s.handlers.wait()
			<-called
			<-called
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(hang):
			panic("the connection does not end")
		}
		ours.end()
		drains.Wait()
		if held := s.room.held.Load() + s.room.windows.Load() + s.room.fields.Load() + c.room.held.Load() + c.room.windows.Load(); held != 0 {
			t.Fatalf("%d bytes of the room are never given back", held)
		}
	})
}
