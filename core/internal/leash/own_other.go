//go:build unix && !linux

package leash

// HoldOwn does nothing: [Leash] is not available.
func HoldOwn(int) error { return nil }
