//go:build linux || darwin

package secure

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
)

// stranger is a user other than root and the user of the tests.
const stranger = 65432

func TestPeerCredAcceptsItsUsers(t *testing.T) {
	own := os.Getuid()
	for name, uids := range map[string][]int{"alone": {own}, "among others": {stranger, own}} {
		t.Run(name, func(t *testing.T) {
			c, s := meet(t, PeerCred(uids...), PeerCred(uids...), unixSocket)
			for name, side := range map[string]side{"client": c, "server": s} {
				if side.err != nil {
					t.Fatalf("%s: %v", name, side.err)
				}
				info := side.info
				if info.UID != own || PeerPID(side.conn) != os.Getpid() || info.Security != handshake.SecurityPeerCred || info.TLS != nil {
					t.Errorf("%s: info %+v", name, info)
				}
				if _, ok := side.conn.(*net.UnixConn); !ok {
					t.Errorf("%s: the connection is wrapped in a %T", name, side.conn)
				}
			}
		})
	}
	if got := PeerCred(own).Security(); got != handshake.SecurityPeerCred {
		t.Errorf("security %q", got)
	}
}

// Root controls a user's processes anyway; every other user is refused. If the
// test runs as root, a child process becomes the other user. Else the test's
// own user is the unexpected one.
func TestPeerCredRefusesOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		c, s := meet(t, PeerCred(os.Getuid()), PeerCred(stranger), unixSocket)
		checkRefused(t, s.err, os.Getuid(), stranger)
		if c.err == nil {
			t.Error("the client got an answer")
		}
		c, s = meet(t, PeerCred(stranger), PeerCred(os.Getuid()), unixSocket)
		checkRefused(t, c.err, os.Getuid(), stranger)
		if s.err == nil {
			t.Error("the server got an answer")
		}
		return
	}
	t.Run("root", func(t *testing.T) {
		if c, s := meet(t, PeerCred(stranger), PeerCred(stranger), unixSocket); c.err != nil || s.err != nil {
			t.Errorf("client: %v, server: %v; want root accepted", c.err, s.err)
		}
	})
	t.Run("root, not expected", func(t *testing.T) {
		c, _ := meet(t, PeerCredExactly(stranger), PeerCred(0), unixSocket)
		if want := fmt.Sprintf("the peer runs as user 0, expected [%d]", stranger); c.err == nil || !strings.HasSuffix(c.err.Error(), want) {
			t.Errorf("%v, want %s", c.err, want)
		}
		_, info, err := PeerCredExactly(stranger).Client(t.Context(), dialStranger(t))
		checkAccepted(t, info, err)
	})
	t.Run("client", func(t *testing.T) {
		conn := acceptFromStranger(t)
		_, _, err := PeerCred(0).Server(conn)
		checkRefused(t, err, stranger, 0)
		_, info, err := PeerCred(stranger).Server(conn)
		checkAccepted(t, info, err)
	})
	t.Run("server", func(t *testing.T) {
		conn := dialStranger(t)
		_, _, err := PeerCred(0).Client(t.Context(), conn)
		checkRefused(t, err, stranger, 0)
		_, info, err := PeerCred(stranger).Client(t.Context(), conn)
		checkAccepted(t, info, err)
	})
}

func checkRefused(t *testing.T, err error, got, want int) {
	t.Helper()
	text := fmt.Sprintf("peer credentials: the peer runs as user %d, expected [%d] or root", got, want)
	if err == nil || err.Error() != text {
		t.Errorf("got  %v\nwant %s", err, text)
	}
}

func checkAccepted(t *testing.T, info Info, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.UID; uid != stranger {
		t.Errorf("UID %d, want %d", uid, stranger)
	}
}

// The kernel does not know the peer's user of a TCP connection or a pipe.
func TestPeerCredRefusesOtherConnections(t *testing.T) {
	for name, conns := range map[string]func(*testing.T) (client, server net.Conn){"tcp": loopback, "pipe": pipe} {
		t.Run(name, func(t *testing.T) {
			c, s := meet(t, PeerCred(os.Getuid()), PeerCred(os.Getuid()), conns)
			for name, err := range map[string]error{"client": c.err, "server": s.err} {
				if err == nil || !strings.Contains(err.Error(), "is not a unix socket") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestPeerCredOfAClosedConnection(t *testing.T) {
	client, server := unixSocket(t)
	defer server.Close()
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := PeerCred(os.Getuid()).Server(client); err == nil {
		t.Error("a closed connection was accepted")
	}
}

// This is the child's half of the tests of peer credentials. It becomes the
// stranger, opens one end of a connection, and keeps it open until the other
// end is closed.
const (
	childRole = "SECURE_TEST_CHILD" // "dial" or "listen"
	childPath = "SECURE_TEST_PATH"
)

// runChild runs the child's half if this process is such a child, and reports
// whether it is.
func runChild() bool {
	role := os.Getenv(childRole)
	if role == "" {
		return false
	}
	err := syscall.Setuid(stranger)
	if err == nil {
		err = holdEnd(role, os.Getenv(childPath))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	return true
}

func holdEnd(role, path string) error {
	conn, err := openEnd(role, path)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.Copy(io.Discard, conn)
	return err
}

func openEnd(role, path string) (net.Conn, error) {
	if role == "dial" {
		return net.Dial("unix", path)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	fmt.Println("listening")
	return ln.Accept()
}

func acceptFromStranger(t *testing.T) net.Conn {
	t.Helper()
	path := filepath.Join(publicDir(t), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := ln.SetDeadline(time.Now().Add(time.Minute)); err != nil { // a child that failed never connects
		t.Fatal(err)
	}
	startStranger(t, "dial", path)
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func dialStranger(t *testing.T) net.Conn {
	t.Helper()
	path := filepath.Join(publicDir(t), "s")
	stdout := bufio.NewReader(startStranger(t, "listen", path))
	if line, err := stdout.ReadString('\n'); err != nil || line != "listening\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// publicDir is a directory that every user can enter, unlike t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "secure-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startStranger starts the child. It ends with its connection. The test's
// clean-up closes the connection first.
func startStranger(t *testing.T, role, path string) io.Reader {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("the child: %v", err)
		}
	})
	return stdout
}
