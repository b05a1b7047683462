//go:build unix && !linux

package pyvider_test

// ended reports whether a process has ended but not been reaped. Only Linux
// shows this.
func ended(int) bool { return false }
