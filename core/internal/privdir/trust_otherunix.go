//go:build unix && !linux

package privdir

// isUnmapped is always false: this system has no user namespaces.
func isUnmapped(int) bool { return false }
