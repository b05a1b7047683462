//go:build unix

package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// directories returns where hosts of this user make their sockets.
func directories() ([]string, error) {
	dirs := []string{filepath.Join(os.TempDir(), fmt.Sprintf("plugwire-%d", os.Geteuid()))}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		dirs = append([]string{filepath.Join(runtime, "plugwire")}, dirs...)
	}
	return dirs, nil
}

// check returns an error if another user could have put sockets into the directory. Root may
// look at those of others.
func check(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || os.Geteuid() != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory that only user %d can enter, so it is not read", dir, os.Geteuid())
	}
	return nil
}
