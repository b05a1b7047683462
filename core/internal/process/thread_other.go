//go:build !linux

package process

// callersThread lets the calling thread start a process, which then inherits from that
// thread. On these systems nothing depends on how long the thread lasts.
func callersThread() (here, lasts bool) { return true, true }
