package secure

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// leavePath tells a child where to listen.
const leavePath = "SECURE_TEST_LEAVE"

// TestPeerThatHasEnded checks a socket that outlives the process that listened on
// it, in a child of that process. The kernel still names the number, which no
// process has any more.
func TestPeerThatHasEnded(t *testing.T) {
	if path := os.Getenv(leavePath); path != "" {
		if err := leave(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := filepath.Join(publicDir(t), "s")
	child := exec.Command(os.Args[0], "-test.run=^TestPeerThatHasEnded$")
	child.Env = append(os.Environ(), leavePath+"="+path)
	out, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	grandchild, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(grandchild, syscall.SIGKILL) }()

	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var cred *unix.Ucred
	var credErr, pidfdErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		var pidfd int
		if pidfd, pidfdErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); pidfdErr == nil {
			pidfdErr = unix.Close(pidfd)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if credErr != nil || int(cred.Pid) != child.Process.Pid {
		t.Fatalf("the kernel names %+v, %v, and the child was %d", cred, credErr, child.Process.Pid)
	}
	if errors.Is(pidfdErr, unix.ENOPROTOOPT) {
		t.Skip("before Linux 6.5 nobody can tell")
	}
	if _, _, err := PeerCred(os.Getuid()).Client(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if pid := PeerPID(conn); pid != 0 {
		t.Errorf("PID %d, want none", pid)
	}
}

// leave listens, passes the socket to a process that outlives it, and prints the
// number of that process.
func leave(path string) error {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return err
	}
	ln.SetUnlinkOnClose(false)
	f, err := ln.File()
	if err != nil {
		return err
	}
	heir := exec.Command("sleep", "600")
	heir.ExtraFiles = []*os.File{f}
	if err := heir.Start(); err != nil {
		return err
	}
	fmt.Println(heir.Process.Pid)
	return nil
}
