//go:build !linux

package process

// Writers names nobody: nothing here tells which files a process has open.
func Writers(string) []string { return nil }
