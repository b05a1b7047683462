//go:build !linux

package doctor

// isNoexec reports whether the file's system is mounted without the right to execute.
// Only Linux says so in a form that this program reads.
func isNoexec(string) bool { return false }

// oomKills returns 0: only Linux counts the processes that it has ended for want of
// memory.
func oomKills() int { return 0 }
