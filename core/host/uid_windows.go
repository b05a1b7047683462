package host

import (
	"os/exec"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// pluginUser returns nil: there are no private directories here.
func pluginUser(*exec.Cmd) *privdir.User { return nil }

// chroot returns an empty string: this system has no other root directories.
func chroot(*exec.Cmd) string { return "" }

// user is the user that a program runs as, always this process's.
type user struct {
	uid   int
	other bool
}

// programOf returns what cmd runs.
func programOf(cmd *exec.Cmd) program {
	return program{path: cmd.Path, dir: cmd.Dir, user: user{uid: -1}}
}

// stoppedAt returns an empty string: directories have no modes here.
func (user) stoppedAt(string) string { return "" }

// userOf returns -1: there are no peer credentials here.
func userOf(*exec.Cmd) int { return -1 }
