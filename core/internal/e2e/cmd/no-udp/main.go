//go:build linux

// Command no-udp runs a command that may open no UDP socket, as a sandbox may
// have it. A test of the end-to-end tests runs a plugin by it.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Fprintln(os.Stderr, "no-udp:", run(os.Args[1:]))
	os.Exit(1)
}

// Offsets in struct seccomp_data of the call's number and of the low half of its
// second argument, on little-endian machines.
const (
	offsetNr   = 0
	offsetArg1 = 16 + 8
)

// sockTypeMask is what the type of a socket has beside its flags.
const sockTypeMask = 0xf

func run(command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	// A filter that fails socket(_, SOCK_DGRAM, _) and lets everything else be.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetNr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 4},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetArg1},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: sockTypeMask},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SOCK_DGRAM, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is this thread's, which then execs
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return unix.Exec(path, command, os.Environ())
}
