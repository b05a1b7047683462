//go:build unix && !linux

package e2e_test

import (
	"syscall"
	"testing"
)

// stopProcess sends SIGSTOP. This system does not show when all threads have
// stopped.
func stopProcess(tb testing.TB, pid int) {
	tb.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		tb.Fatal(err)
	}
}
