//go:build unix

package host

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// pluginUser returns the user that cmd runs as, nil if it is this process's user.
func pluginUser(cmd *exec.Cmd) *privdir.User {
	uid := pluginUID(cmd)
	if uid < 0 || uid == os.Geteuid() {
		return nil
	}
	return &privdir.User{UID: uid, GID: int(cmd.SysProcAttr.Credential.Gid)}
}

// pluginUID returns the user that cmd asks for, -1 if it asks for none.
func pluginUID(cmd *exec.Cmd) int {
	if cmd.SysProcAttr == nil || cmd.SysProcAttr.Credential == nil {
		return -1
	}
	return int(cmd.SysProcAttr.Credential.Uid)
}

// chroot returns the root directory of cmd's process, empty if it is this process's.
func chroot(cmd *exec.Cmd) string {
	if cmd.SysProcAttr == nil {
		return ""
	}
	return cmd.SysProcAttr.Chroot
}

// user is the user that a program runs as.
type user struct {
	uid, gid int
	other    bool // another user than this process's
}

// programOf returns what cmd runs.
func programOf(cmd *exec.Cmd) program {
	u := user{uid: os.Geteuid(), gid: os.Getegid()}
	if other := pluginUser(cmd); other != nil {
		u = user{other.UID, other.GID, true}
	}
	return program{path: cmd.Path, dir: cmd.Dir, root: chroot(cmd), user: u}
}

// stoppedAt returns the first directory above path that the user cannot enter, judged
// by its mode, or an empty string.
func (u user) stoppedAt(path string) string {
	path, err := filepath.Abs(path)
	if err != nil || u.uid == 0 {
		return ""
	}
	var above []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		above = append(above, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, dir := range slices.Backward(above) {
		info, err := os.Stat(dir)
		if err != nil {
			return ""
		}
		if !info.IsDir() || !u.mayEnter(info) {
			return dir
		}
	}
	return ""
}

func (u user) mayEnter(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	bit := fs.FileMode(0o001)
	switch {
	case int(stat.Uid) == u.uid:
		bit = 0o100
	case int(stat.Gid) == u.gid:
		bit = 0o010
	}
	return info.Mode().Perm()&bit != 0
}

// userOf returns the user that cmd runs as.
func userOf(cmd *exec.Cmd) int {
	if uid := pluginUID(cmd); uid >= 0 {
		return uid
	}
	return os.Geteuid()
}
