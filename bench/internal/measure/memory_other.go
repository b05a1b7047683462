//go:build !linux

package measure

// anonymousMemory is not available: other systems count memory in other ways.
func anonymousMemory(int) (bytesUsed int64, ok bool) { return 0, false }
