//go:build !unix

package pw

// isReadable says yes, so that nobody looks twice: this system has no quick answer.
func isReadable(uintptr) bool { return true }

// isWritable says no: this system has no quick answer.
func isWritable(uintptr) bool { return false }
