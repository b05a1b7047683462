//go:build unix

package self_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/self"
)

// TestInherit takes descriptors that the host passed on, and does not touch others.
func TestInherit(t *testing.T) {
	r, _ := pipe(t)
	other, _ := pipe(t)
	id := identify(t, r)
	if id == identify(t, other) {
		t.Skip("this system does not tell one pipe from another")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer socket.Close()
	defer unix.Close(pair[1])
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		name string
		file *os.File
		id   self.FileID
		pipe bool
		ok   bool
	}{
		{"the pipe", r, id, true, true},
		{"a pipe of unknown identity", r, self.FileID{}, true, true},
		{"another pipe", other, id, true, false},
		{"a socket in place of the pipe", socket, id, true, false},
		{"a socket of unknown identity in place of a pipe", socket, self.FileID{}, true, false},
		{"the socket", socket, identify(t, socket), false, true},
		{"a file in place of the socket", file, identify(t, socket), false, false},
		{"the same inode on another device", r, self.FileID{Device: id.Device + 1, Inode: id.Inode}, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			fd := inheritable(t, test.file)
			got, err := self.Descriptor{FD: fd, ID: test.id, Pipe: test.pipe}.Inherit()
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer got.Close()
				if !closesOnExec(t, fd) {
					t.Error("the plugin's children would get it")
				}
				return
			}
			defer unix.Close(fd)
			if err == nil {
				t.Fatal("it was taken")
			}
			if closesOnExec(t, fd) {
				t.Error("it was changed")
			}
		})
	}
}

func identify(t *testing.T, f *os.File) self.FileID {
	t.Helper()
	id, err := self.Identify(f)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// inheritable returns a descriptor with the flags of one that a program just inherited.
func inheritable(t *testing.T, f *os.File) int {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var dup int
	var dupErr error
	if err := raw.Control(func(fd uintptr) { dup, dupErr = unix.Dup(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if dupErr != nil {
		t.Fatal(dupErr)
	}
	return dup
}

func closesOnExec(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.FD_CLOEXEC != 0
}
