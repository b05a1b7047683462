package pw

import (
	"net"
	"runtime"
	"syscall"
	"time"
)

// spinner looks for bytes for a short time before a reader sleeps. To wake a thread takes
// longer than a quick handler, most of all on a processor that was put to sleep: when both
// sides look, a call takes a fifth of the time. A spinner that finds nothing looks less often.
type spinner struct {
	raw    syscall.RawConn
	look   func(fd uintptr) // a field, so that a read does not allocate it
	found  bool
	misses int // how often in turn nothing came
	skip   int // how many reads do not look
}

const (
	// spinFor is how long a reader looks. The other side, if it sleeps, wakes up and answers
	// in about half of it.
	spinFor = 50 * time.Microsecond
	// rarely bounds how many reads do not look after one that found nothing, so that
	// looking in vain takes less than a thousandth of a processor.
	rarely = 256
)

// newSpinner returns the spinner of a connection. It is nil if bytes cannot come while this
// side looks, since there is one processor, or if the connection is no socket.
func newSpinner(conn net.Conn) *spinner {
	raw := socketOf(conn)
	if raw == nil || runtime.GOMAXPROCS(0) == 1 || runtime.NumCPU() == 1 {
		return nil
	}
	s := &spinner{raw: raw}
	s.look = func(fd uintptr) {
		began := time.Now()
		for s.found = isReadable(fd); !s.found && time.Since(began) < spinFor; s.found = isReadable(fd) {
		}
	}
	return s
}

// spin waits a little for bytes. Nothing depends on whether they come.
func (s *spinner) spin() {
	if s == nil {
		return
	}
	if s.skip > 0 {
		s.skip--
		return
	}
	if s.raw.Control(s.look) != nil {
		return // the connection has ended, and the read says so
	}
	if s.found {
		s.misses = 0
		return
	}
	s.misses++
	s.skip = min(1<<min(s.misses, 16), rarely)
}

// socketOf returns the socket below a connection, or nil.
func socketOf(conn net.Conn) syscall.RawConn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = t.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil // it is closed, and reads and writes say so
	}
	return raw
}
