package session

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
)

func TestSingle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := Single(&Stream{Conn: ours})
		if l.Addr() != ours.LocalAddr() {
			t.Errorf("the address is %v", l.Addr())
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := conn.(*Stream); !ok || s.Conn != ours {
			t.Errorf("accepted a %T", conn)
		}
		next := start(l.Accept)
		synctest.Wait()
		if len(next) > 0 {
			t.Fatal("a second Accept returned before Close")
		}
		checkClose(t, l, l)
		if r := <-next; !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("the second Accept: %v, %v", r.value, r.err)
		}
		checkEnded(t, theirs) // also when somebody has accepted it
		checkClose(t, theirs)
	})
}

// A stream that nobody has accepted ends with the listener.
func TestSingleNotAccepted(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	l := Single(&Stream{Conn: ours})
	checkClose(t, l)
	checkEnded(t, theirs)
	if conn, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, %v", conn, err)
	}
}
