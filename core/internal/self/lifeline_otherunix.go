//go:build unix && !linux

package self

import "os"

func unbindFromParent() {}

// reopen opens nothing: these systems do not let a process open the pipes of another.
func reopen(int, FileID) *os.File { return nil }

// resumeAtEnd does nothing: a plugin that is stopped when its host dies stays until it is
// resumed.
func resumeAtEnd(*os.File) error { return nil }

// holdLeash does nothing: no host offers a leash on these systems.
func holdLeash(Ties, int) error { return nil }
