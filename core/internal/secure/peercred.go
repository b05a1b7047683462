package secure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/plugwire/plugwire/core/handshake"
)

// PeerCred accepts a peer on a unix socket if the kernel says that it runs as
// one of the users in uids, or as root. It does not wrap the connection: that
// stays the transport's own.
func PeerCred(uids ...int) *Credentials {
	return peerCred(slices.Concat(uids, []int{0}), uids, " or root")
}

// PeerCredExactly accepts a peer only if it runs as the user uid. It accepts root only
// if uid is root's.
func PeerCredExactly(uid int) *Credentials { return peerCred([]int{uid}, []int{uid}, "") }

// peerCred accepts the users. The error shows the expected users, followed by
// more.
func peerCred(accepted, expected []int, more string) *Credentials {
	check := func(conn net.Conn) (net.Conn, Info, error) {
		uid, err := peerUID(conn)
		if err != nil {
			return nil, Info{}, fmt.Errorf("peer credentials: %w", err)
		}
		if !slices.Contains(accepted, uid) {
			return nil, Info{}, fmt.Errorf("peer credentials: the peer runs as user %d, expected %v%s", uid, expected, more)
		}
		return conn, Info{UID: uid}, nil
	}
	return &Credentials{
		security: handshake.SecurityPeerCred,
		client:   func(_ context.Context, conn net.Conn) (net.Conn, Info, error) { return check(conn) },
		server:   check,
	}
}

// Plaintext does not authenticate the peer. A foreign host asks for it by
// sending no certificate.
func Plaintext() *Credentials {
	pass := func(conn net.Conn) (net.Conn, Info, error) {
		return conn, Info{UID: -1}, nil
	}
	return &Credentials{
		security: handshake.SecurityNone,
		client:   func(_ context.Context, conn net.Conn) (net.Conn, Info, error) { return pass(conn) },
		server:   pass,
	}
}

// peerUID asks the kernel which user opened the other end. On the side that
// dialed, it is the user that called listen; on the side that accepted, the
// user that called connect.
func peerUID(conn net.Conn) (uid int, err error) {
	var sockErr error
	err = ofSocket(conn, func(fd int) { uid, sockErr = socketUID(fd) })
	return uid, errors.Join(err, sockErr)
}

// PeerPID returns the number of the process that called listen, for the side that
// dialed, or connect, for the side that accepted; 0 if the kernel does not know,
// or if that process has ended.
func PeerPID(conn net.Conn) (pid int) {
	_ = ofSocket(conn, func(fd int) { pid = socketPID(fd) }) // a connection that is not a socket has none
	return pid
}

// ofSocket calls f with the descriptor of the unix socket.
func ofSocket(conn net.Conn, f func(fd int)) error {
	sc, ok := conn.(syscall.Conn)
	if !ok || conn.LocalAddr().Network() != "unix" {
		return fmt.Errorf("%T is not a unix socket", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}
