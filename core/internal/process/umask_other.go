//go:build !linux

package process

// UmaskIsPrivate reports false: on this system, reading the umask means changing it.
func UmaskIsPrivate() bool { return false }
