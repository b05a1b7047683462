//go:build unix && !linux

package self

import "os"

func unbindFromParent() {}

// reopen opens nothing: there is no way here to what another process has open.
func reopen(int, FileID) *os.File { return nil }

// resumeAtEnd does nothing: a plugin that is stopped when its host dies stays until it
// is resumed.
func resumeAtEnd(*os.File) error { return nil }

// holdLeash has nothing to hold: no host offers a leash here.
func holdLeash(Ties, int) error { return nil }
