package h2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// chunks is a connection on which so many bytes come at a time.
type chunks struct {
	net.Conn
	data  []byte
	sizes []byte
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(c.data)
	if len(c.sizes) > 0 {
		n = 1 + int(c.sizes[0])
		c.sizes = c.sizes[1:]
	}
	n = copy(b, c.data[:min(n, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

func (*chunks) Write(b []byte) (int, error) { return len(b), nil }
func (*chunks) Close() error                { return nil }

// readAll reads all through a servedConn with that room, and returns what the reader got,
// how many messages were refused, and the error.
func readAll(data, sizes []byte, r *room) (got []byte, refused int, err error) {
	r.refused = func() { refused++ }
	r.conns.Add(1)
	c := newServedConn(&chunks{data: bytes.Clone(data), sizes: sizes}, r)
	got, err = io.ReadAll(c)
	_ = c.Close()
	return got, refused, err
}

// frames writes frames by f, behind the preface.
func frames(f func(w *http2.Framer)) []byte {
	b := bytes.NewBufferString(http2.ClientPreface)
	f(http2.NewFramer(b, nil))
	return b.Bytes()
}

func message(size uint32, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, size), body...)
}

func openStream(w *http2.Framer, id uint32) {
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x82}, EndHeaders: true})
}

// TestRefusedMessages sends messages in pieces of each size. The reader gets what was sent,
// except for the lengths of messages that do not fit.
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	const large = smallMessage + 1
	data := frames(func(w *http2.Framer) {
		openStream(w, 1)
		_ = w.WriteDataPadded(1, false, message(large, []byte("fits")), make([]byte, 20))
		openStream(w, 3)
		_ = w.WriteData(3, false, append(message(3, []byte("abc")), message(large, []byte("does not fit"))...))
		_ = w.WriteRSTStream(1, http2.ErrCodeCancel)
		openStream(w, 5)
		_ = w.WriteData(5, false, message(large, []byte("fits again")))
		openStream(w, 7)
		_ = w.WriteData(7, false, message(smallMessage, []byte("is small")))
		openStream(w, 9)
		_ = w.WriteData(9, false, message(1<<31, []byte("is too large in any case")))
	})
	want := bytes.Clone(data)
	at := bytes.Index(want, []byte("does not fit"))
	binary.BigEndian.PutUint32(want[at-lengthLen:], refusedLength)
	for size := range 60 {
		r := &room{limit: large, largest: 1 << 20}
		got, refused, err := readAll(data, bytes.Repeat([]byte{byte(size)}, len(data)), r)
		if err != nil || !bytes.Equal(got, want) || refused != 1 {
			t.Fatalf("in pieces of %d bytes: %v, %d refused, got\n%q, want\n%q", size+1, err, refused, got, want)
		}
		if r.held.Load() != 0 || r.conns.Load() != 0 {
			t.Errorf("after Close %d bytes and %d connections are held", r.held.Load(), r.conns.Load())
		}
	}
}

// TestSplitLength sends the length of a message that does not fit in two frames. The
// message can no longer be refused alone, so the connection ends.
func TestSplitLength(t *testing.T) {
	t.Parallel()
	m := message(smallMessage+1, nil)
	data := frames(func(w *http2.Framer) {
		openStream(w, 1)
		_ = w.WriteData(1, false, m[:2])
		_ = w.WriteData(1, false, m[2:])
	})
	if _, _, err := readAll(data, nil, &room{limit: 1, largest: 1 << 20}); !errors.Is(err, errSplitLength) {
		t.Errorf("there is no room: %v, want %v", err, errSplitLength)
	}
	if got, _, err := readAll(data, nil, &room{limit: 1 << 20, largest: 1 << 20}); err != nil || !bytes.Equal(got, data) {
		t.Errorf("there is room: %v", err)
	}
}

// FuzzServedConn passes any bytes, in pieces, in both directions. With room for all of them
// the reader gets what came. After Close nothing is held.
func FuzzServedConn(f *testing.F) {
	f.Add(frames(func(w *http2.Framer) {
		openStream(w, 1)
		_ = w.WriteDataPadded(1, true, message(1<<19, []byte("x")), []byte{0, 0})
		_ = w.WriteRSTStream(1, 0)
	}), []byte{3, 1, 4}, []byte{0, 0, 0, 1, 1, 0, 0, 0, 1}, int64(1<<20))
	f.Fuzz(func(t *testing.T, data, sizes, out []byte, limit int64) {
		limit &= 1<<40 - 1
		r := &room{limit: limit, largest: 1 << 30}
		refused := 0
		r.refused = func() { refused++ }
		r.conns.Add(1)
		c := newServedConn(&chunks{data: bytes.Clone(data), sizes: sizes}, r)
		var got []byte
		var err error
		for b := make([]byte, 1+len(sizes)%50); err == nil; {
			var n int
			n, err = c.Read(b)
			got = append(got, b[:n]...)
			if len(out) > 0 {
				_, _ = c.Write(out[:1])
				out = out[1:]
			}
			if r.held.Load() > limit {
				t.Fatalf("%d bytes are held, and the limit is %d", r.held.Load(), limit)
			}
		}
		if len(got) > len(data) || refused == 0 && !bytes.HasPrefix(data, got) {
			t.Errorf("the reader got\n%q, want\n%q", got, data)
		}
		if refused == 0 && errors.Is(err, io.EOF) && len(got)+prefixLen <= len(data) {
			t.Errorf("the reader got %d bytes of %d", len(got), len(data))
		}
		_ = c.Close()
		if r.held.Load() != 0 || r.conns.Load() != 0 {
			t.Errorf("after Close %d bytes and %d connections are held", r.held.Load(), r.conns.Load())
		}
	})
}

// TestRefusalIsToldWithoutLock checks that a log handler can write to the connection whose
// refused message it logs.
func TestRefusalIsToldWithoutLock(t *testing.T) {
	t.Parallel()
	data := frames(func(w *http2.Framer) {
		openStream(w, 1)
		_ = w.WriteData(1, false, message(smallMessage+1, []byte("does not fit")))
	})
	var c *servedConn
	told := 0
	r := &room{largest: 1 << 20, refused: func() {
		if !c.mu.TryLock() {
			t.Error("the connection is locked")
			return
		}
		c.mu.Unlock()
		told++
	}}
	r.conns.Add(1)
	c = newServedConn(&chunks{data: data}, r)
	if _, err := io.ReadAll(c); err != nil || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
	_ = c.Close() // always nil
}
