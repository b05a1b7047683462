package transporttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/net/nettest"
)

// maxInFlight is more than any connection may hold between a writer and a
// reader that does not read. The buffers of a kernel hold a few hundred
// kilobytes, or some megabytes where they are tuned for fast networks.
const maxInFlight = 64 << 20

// source returns an endless stream of bytes that the seed determines.
func source(seed int) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], uint64(seed)) //nolint:gosec // any bits will do
	return rand.NewChaCha8(key)
}

// transfer sends size bytes of source(seed) and checks that they arrive. From
// and to are the ends of a connection, or one end whose other end echoes. When
// one side fails, the other ends when the connection is closed.
func transfer(from io.Writer, to io.Reader, size int64, seed int) error {
	sent := start(func() error {
		if _, err := io.CopyN(from, source(seed), size); err != nil {
			return fmt.Errorf("sending %d bytes: %w", size, err)
		}
		return nil
	})
	received := start(func() error { return receive(to, size, seed) })
	select {
	case err := <-sent:
		if err != nil {
			return err
		}
		return <-received
	case err := <-received:
		if err != nil {
			return err
		}
		return <-sent
	}
}

// receive reads size bytes and checks that they are those of source(seed).
func receive(from io.Reader, size int64, seed int) error {
	got, want := sha256.New(), sha256.New()
	if n, err := io.CopyN(got, from, size); err != nil {
		return fmt.Errorf("receiving %d bytes: %w after %d", size, err, n)
	}
	if _, err := io.CopyN(want, source(seed), size); err != nil {
		return err
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("%d bytes arrived, but not those that were sent", size)
	}
	return nil
}

// readEOF checks that the stream ends without another byte.
func readEOF(from io.Reader) error {
	_, err := io.ReadFull(from, make([]byte, 1))
	switch {
	case err == nil:
		return errors.New("more was received than was sent")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("the end of the stream: %w, want io.EOF", err)
	}
	return nil
}

func checkEcho(e *env) {
	dialed, accepted := e.pair(e.listen())
	if err := transfer(accepted, dialed, 1000, 1); err != nil {
		e.Errorf("the end that accepted speaks first: %v", err)
	}
	if err := transfer(dialed, accepted, 1000, 2); err != nil {
		e.Error(err)
	}
	ln := e.listen()
	e.echo(ln)
	conn := e.open(e.Context(), ln)
	for _, size := range []int64{1, 2, 1000, 64 << 10} {
		if err := transfer(conn, conn, size, 3); err != nil {
			e.Error(err)
		}
	}
}

// checkTransfer sends size bytes each way at the same time.
func checkTransfer(size int64) func(*env) {
	return func(e *env) {
		dialed, accepted := e.pair(e.listen())
		back := start(func() error { return transfer(accepted, dialed, size, 1) })
		if err := errors.Join(transfer(dialed, accepted, size, 2), <-back); err != nil {
			e.Error(err)
		}
	}
}

// dialsAtOnce is how many connections are dialed at the same time. The time of a dial is
// bounded. With 100 handshakes at once, dials on a busy machine took longer.
const dialsAtOnce = 16

// checkManyConnections opens connections, some at the same time, keeps them all open and uses
// all at the same time.
func checkManyConnections(e *env) {
	const n = 100
	ln := e.listen()
	e.echo(ln)
	conns := make([]net.Conn, n)
	results := make([]<-chan error, n)
	places := make(chan struct{}, dialsAtOnce)
	for i := range n {
		results[i] = start(func() (err error) {
			places <- struct{}{}
			defer func() { <-places }()
			conns[i], err = ln.open(e.Context())
			return err
		})
	}
	for i := range n {
		if err := <-results[i]; err != nil {
			e.Errorf("Dial of connection %d: %v", i, err)
		} else {
			e.keep(conns[i])
		}
	}
	if e.Failed() {
		return
	}
	for i := range n {
		results[i] = start(func() error { return transfer(conns[i], conns[i], 64<<10, i) })
	}
	for i := range n {
		if err := <-results[i]; err != nil {
			e.Errorf("connection %d: %v", i, err)
		}
	}
}

// blockTime is how long a writer has to fill the buffers of a connection.
const blockTime = 500 * time.Millisecond

// fill writes bytes of source(seed) to an end whose other end does not read,
// until that blocks, and returns how many.
func fill(conn net.Conn, seed int) (int64, error) {
	if err := conn.SetWriteDeadline(time.Now().Add(blockTime)); err != nil {
		return 0, err
	}
	sent, err := io.Copy(conn, io.LimitReader(source(seed), maxInFlight))
	if err == nil {
		return sent, fmt.Errorf("wrote %d bytes to an end that does not read", sent)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return sent, fmt.Errorf("a Write past its deadline: %w, want os.ErrDeadlineExceeded", err)
	}
	return sent, conn.SetWriteDeadline(time.Time{})
}

// checkBusyConnections opens and uses a connection while another one's writer
// is blocked and a third one transfers.
func checkBusyConnections(e *env) {
	ln := e.listen()
	blocked, _ := e.pair(ln)
	if _, err := fill(blocked, 1); err != nil {
		e.Fatal(err)
	}
	writer := start(func() error {
		_, err := blocked.Write(make([]byte, maxInFlight))
		return err
	})
	busy, other := e.pair(ln)
	transferred := start(func() error { return transfer(busy, other, 16<<20, 2) })

	dialed, accepted := e.pair(ln)
	if err := errors.Join(transfer(dialed, accepted, 64<<10, 3), transfer(accepted, dialed, 64<<10, 4)); err != nil {
		e.Errorf("a connection beside busy ones: %v", err)
	}
	if err := <-transferred; err != nil {
		e.Errorf("a transfer while other connections are opened: %v", err)
	}
	if err := blocked.Close(); err != nil {
		e.Errorf("Close: %v", err)
	}
	if err := <-writer; !errors.Is(err, net.ErrClosed) {
		e.Errorf("the blocked writer ends with %v, want net.ErrClosed", err)
	}
}

// checkSlowReader writes to an end that does not read. The writer must block
// after a bounded number of bytes, its deadline must unblock it, and every byte
// that Write reports as written must arrive.
func checkSlowReader(e *env) {
	e.eachWay(func(local, remote net.Conn) {
		sent, err := fill(local, 1)
		if err != nil {
			e.Fatal(err)
		}
		if err := receive(remote, sent, 1); err != nil {
			e.Errorf("what was written before the deadline: %v", err)
		}
		if err := transfer(local, remote, 1000, 2); err != nil {
			e.Errorf("after the deadline was lifted: %v", err)
		}
	})
}

func checkDeadlines(e *env) {
	e.eachWay(func(local, remote net.Conn) {
		buf := make([]byte, 1)
		if err := local.SetDeadline(time.Unix(1, 0)); err != nil {
			e.Fatal(err)
		}
		if _, err := local.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			e.Errorf("Read after its deadline: %v, want os.ErrDeadlineExceeded", err)
		}
		if _, err := local.Write(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			e.Errorf("Write after its deadline: %v, want os.ErrDeadlineExceeded", err)
		}

		// Check a deadline that passes while Read is blocked, and one that is
		// set while Read is blocked.
		if err := local.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			e.Fatal(err)
		}
		if _, err := local.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			e.Errorf("Read past its deadline: %v, want os.ErrDeadlineExceeded", err)
		}
		if err := local.SetDeadline(time.Time{}); err != nil {
			e.Fatal(err)
		}
		read := start(func() error {
			_, err := local.Read(buf)
			return err
		})
		yield()
		if err := local.SetReadDeadline(time.Now()); err != nil {
			e.Fatal(err)
		}
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			e.Errorf("Read whose deadline is moved: %v, want os.ErrDeadlineExceeded", err)
		}

		if err := local.SetDeadline(time.Time{}); err != nil {
			e.Fatal(err)
		}
		if err := errors.Join(transfer(remote, local, 1000, 1), transfer(local, remote, 1000, 2)); err != nil {
			e.Errorf("after the deadline was lifted: %v", err)
		}
	})
}

// checkCloseGivesEOF closes an end right after its last Write.
func checkCloseGivesEOF(e *env) {
	const size = 1 << 20
	e.eachWay(func(local, remote net.Conn) {
		sent := start(func() error {
			_, err := io.CopyN(local, source(1), size)
			return errors.Join(err, local.Close())
		})
		if err := errors.Join(receive(remote, size, 1), readEOF(remote), <-sent); err != nil {
			e.Error(err)
		}
	})
}

func checkCloseUnblocks(e *env) {
	e.eachWay(func(local, remote net.Conn) {
		read := start(func() error {
			_, err := local.Read(make([]byte, 1))
			return err
		})
		write := start(func() error {
			_, err := local.Write(make([]byte, maxInFlight))
			return err
		})
		// The first byte tells that Write has begun. Write cannot end.
		if _, err := io.ReadFull(remote, make([]byte, 1)); err != nil {
			e.Fatal(err)
		}
		yield()
		if err := local.Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			e.Errorf("Read while the connection is closed: %v, want net.ErrClosed", err)
		}
		if err := <-write; !errors.Is(err, net.ErrClosed) {
			e.Errorf("Write while the connection is closed: %v, want net.ErrClosed", err)
		}
	})
}

func checkCloseTwice(e *env) {
	e.eachWay(func(local, _ net.Conn) {
		if err := local.Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
		if err := closeAgain(local); err != nil {
			e.Errorf("second Close: %v, want nil or net.ErrClosed", err)
		}
		buf := make([]byte, 1)
		if _, err := local.Read(buf); !errors.Is(err, net.ErrClosed) {
			e.Errorf("Read after Close: %v, want net.ErrClosed", err)
		}
		if _, err := local.Write(buf); !errors.Is(err, net.ErrClosed) {
			e.Errorf("Write after Close: %v, want net.ErrClosed", err)
		}
	})
}

// checkPeerClosed writes to an end that is closed. The first bytes may be lost
// silently, but a writer must get an error at last.
func checkPeerClosed(e *env) {
	e.eachWay(func(local, remote net.Conn) {
		if err := remote.Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
		if n, err := io.CopyN(local, source(1), maxInFlight); err == nil {
			e.Errorf("wrote %d bytes to an end that is closed", n)
		}
	})
}

func checkHalfClose(e *env) {
	const size = 64 << 10
	e.eachWay(func(local, remote net.Conn) {
		half, ok := local.(interface{ CloseWrite() error })
		if !ok {
			e.Skipf("%T has no CloseWrite", local)
		}
		sent := start(func() error {
			_, err := io.CopyN(local, source(1), size)
			return errors.Join(err, half.CloseWrite())
		})
		if err := errors.Join(receive(remote, size, 1), readEOF(remote), <-sent); err != nil {
			e.Error(err)
		}
		if _, err := local.Write(make([]byte, 1)); err == nil {
			e.Error("Write after CloseWrite: no error")
		}
		if err := transfer(remote, local, size, 2); err != nil {
			e.Errorf("the other way, after CloseWrite: %v", err)
		}
	})
}

// checkNetTest runs the tests that golang.org/x/net has for any net.Conn. Each
// bounds itself to a minute. They are subtests, which only the test's own
// goroutine may start.
func checkNetTest(e *env) {
	defer e.cleanup()
	var ln *link
	if e.way != prepared {
		ln = e.listen()
	}
	nettest.TestConn(e.T, func() (dialed, accepted net.Conn, stop func(), err error) {
		if e.way == prepared {
			if ln, err = e.tryListen(e.Context()); err != nil { // each test has one connection
				return nil, nil, nil, err
			}
		}
		dialed, accepted, err = e.connect(ln)
		return dialed, accepted, func() {
			if err := errors.Join(closeAgain(dialed), closeAgain(accepted)); err != nil {
				e.Errorf("Close: %v", err)
			}
		}, err
	})
}
