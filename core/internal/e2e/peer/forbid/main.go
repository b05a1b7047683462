//go:build linux

// Package forbid is the command forbid. It runs a command with a restriction like that
// of a sandbox: "forbid udp COMMAND" forbids UDP sockets, "forbid memfd COMMAND"
// forbids files in memory. End-to-end tests run hosts and plugins by it.
package forbid

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Main is the command.
func Main() {
	fmt.Fprintln(os.Stderr, "forbid:", run(os.Args[1], os.Args[2:]))
	os.Exit(1)
}

// These are the offsets in struct seccomp_data of the call's number and of the
// low half of its second argument, on little-endian machines.
const (
	offsetNr   = 0
	offsetArg1 = 16 + 8
)

// sockTypeMask is what the type of a socket has beside its flags.
const sockTypeMask = 0xf

// filters are the filters of system calls, by what they forbid. They allow
// everything else.
var filters = map[string][]unix.SockFilter{
	"udp": { // socket(_, SOCK_DGRAM, _)
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetNr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetArg1},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: sockTypeMask},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SOCK_DGRAM, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	},
	"memfd": {
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetNr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_MEMFD_CREATE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	},
}

func run(forbidden string, command []string) error {
	filter, ok := filters[forbidden]
	if !ok {
		return fmt.Errorf("do not know how to forbid %q", forbidden)
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter belongs to this thread, which then calls exec
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return unix.Exec(path, command, os.Environ())
}
