//go:build !linux

package process

// WhyStopped returns nothing: this package reads the state of a process on Linux only. A
// call to a plugin that is stopped times out without this reason.
func WhyStopped(int) string { return "" }

// IsEnding returns false: this package reads the state of a process on Linux only.
func IsEnding(int) bool { return false }
