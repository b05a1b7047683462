package files_test

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

// without makes the system refuse this process hard links, like FAT. If
// exclusive is set, it also refuses renames that must not replace a file, like
// some network file systems.
func without(t *testing.T, exclusive bool) {
	t.Helper()
	const (
		number     = 0  // offset of the call's number in struct seccomp_data
		fifth      = 48 // offset of the lower half of its fifth argument
		load       = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jumpEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		returnWhat = unix.BPF_RET | unix.BPF_K
	)
	flag := uint32(1 << 31) // a number that no call has
	if exclusive {
		flag = unix.RENAME_NOREPLACE
	}
	filter := []unix.SockFilter{
		{Code: load, K: number},
		{Code: jumpEqual, K: unix.SYS_LINKAT, Jt: 4},
		{Code: jumpEqual, K: unix.SYS_RENAMEAT2, Jf: 2},
		{Code: load, K: fifth},
		{Code: jumpEqual, K: flag, Jt: 2},
		{Code: returnWhat, K: unix.SECCOMP_RET_ALLOW},
		{Code: returnWhat, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: returnWhat, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		t.Skip("this system lets nobody filter calls: ", errno)
	}
}

// noLinks uploads where there are no hard links.
func noLinks(t *testing.T, exclusive bool) {
	t.Helper()
	tr := newTree(t)
	without(t, exclusive)
	commit := func(spec files.UploadSpec, data string) error {
		u := tr.begin(t, spec)
		mustWrite(t, u, data)
		return u.Commit(sumOf([]byte(data)))
	}
	if !exclusive {
		if err := commit(files.UploadSpec{Path: "d/new", ID: "id"}, "new"); err != nil {
			t.Error(err)
		}
	} else {
		err := commit(files.UploadSpec{Path: "d/new", ID: "id"}, "new")
		const want = `"d/new" could replace a file, because the plugin's file system has neither hard links nor another way to prevent that: set overwrite to allow it`
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if err := commit(files.UploadSpec{Path: "d/new", Overwrite: true}, "new"); err != nil {
			t.Error(err)
		}
	}
	tr.want(t, map[string]string{"d/new": "new"})

	// Another process makes a file of that name meanwhile.
	u := tr.begin(t, files.UploadSpec{Path: "taken"})
	mustWrite(t, u, "new")
	tr.write(t, "taken", []byte("old"))
	wantCode(t, u.Commit(sumOf([]byte("new"))), codes.AlreadyExists)
	tr.want(t, map[string]string{"d/new": "new", "taken": "old"})
}
