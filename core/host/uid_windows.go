package host

import (
	"os/exec"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// pluginUser returns none: there are no private directories here.
func pluginUser(*exec.Cmd) *privdir.User { return nil }

// chroot returns none: this system has none.
func chroot(*exec.Cmd) string { return "" }

// user is the user as whom a program runs, which is always this process's.
type user struct {
	uid   int
	other bool
}

// programOf returns what cmd is told to run.
func programOf(cmd *exec.Cmd) program {
	return program{path: cmd.Path, dir: cmd.Dir, user: user{uid: -1}}
}

// stoppedAt returns none: directories have no modes here.
func (user) stoppedAt(string) string { return "" }

// userOf returns the user as whom cmd runs. There are no peer credentials here.
func userOf(*exec.Cmd) int { return -1 }
