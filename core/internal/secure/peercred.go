package secure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"google.golang.org/grpc/credentials"

	"github.com/plugwire/plugwire/core/handshake"
)

// PeerCred accepts a peer on a unix socket if the kernel says that it runs as
// one of the users in uids, or as root. It wraps nothing: the connection stays
// what the transport made it.
func PeerCred(uids ...int) *Credentials {
	check := func(conn net.Conn) (net.Conn, Info, error) {
		uid, pid, err := peerOf(conn)
		if err != nil {
			return nil, Info{}, fmt.Errorf("peer credentials: %w", err)
		}
		if uid != 0 && !slices.Contains(uids, uid) {
			return nil, Info{}, fmt.Errorf("peer credentials: the peer runs as user %d, expected %v or root", uid, uids)
		}
		return conn, Info{
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
			UID:            uid,
			PID:            pid,
		}, nil
	}
	return &Credentials{
		security: handshake.SecurityPeerCred,
		client:   func(_ context.Context, conn net.Conn) (net.Conn, Info, error) { return check(conn) },
		server:   check,
	}
}

// Plaintext authenticates nobody. It is what a foreign host asks for by sending
// no certificate.
func Plaintext() *Credentials {
	pass := func(conn net.Conn) (net.Conn, Info, error) {
		return conn, Info{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, UID: -1}, nil
	}
	return &Credentials{
		security: handshake.SecurityNone,
		client:   func(_ context.Context, conn net.Conn) (net.Conn, Info, error) { return pass(conn) },
		server:   pass,
	}
}

// peerOf asks the kernel who opened the other end. For the side that dialed
// that is the user, and the process, who called listen, for the side that accepted
// those who called connect.
func peerOf(conn net.Conn) (uid, pid int, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok || conn.LocalAddr().Network() != "unix" {
		return 0, 0, fmt.Errorf("%T is not a unix socket", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var sockErr error
	err = raw.Control(func(fd uintptr) { uid, pid, sockErr = socketPeer(int(fd)) })
	return uid, pid, errors.Join(err, sockErr)
}
