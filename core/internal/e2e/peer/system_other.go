//go:build !linux

package peer

// systemPrograms are the programs for this system only.
var systemPrograms map[string]func()
