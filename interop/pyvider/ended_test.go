//go:build unix && !linux

package pyvider_test

// ended reports whether a process has ended though there is still one of that
// number, which only Linux tells.
func ended(int) bool { return false }
