//go:build !linux

package process

// UmaskIsPrivate reports false: this system tells the umask only to who changes it.
func UmaskIsPrivate() bool { return false }
