//go:build !unix

package conform

import "os/exec"

// setGroup does nothing: this system has no process groups.
func setGroup(*exec.Cmd, bool) {}

// killGroup does nothing: only the process itself is killed.
func killGroup(int) {}
