//go:build unix

package privdir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the symbolic links on the way to a directory, as the kernel does.
const maxLinks = 40

const (
	othersWrite = 0o022 // the group counts too: its members are other users
	othersEnter = 0o011
)

// inspect returns an error if another user can rename or replace a part of an
// absolute path to a directory, symbolic links included. Root is not another user:
// root can do that anywhere.
//
// It checks from the root down. A part that it has found safe stays safe,
// because only root and this user can change it. It returns the first directory
// that only its owner can enter, if there is one: below it, other users cannot
// use a permission to write.
func inspect(path string) (closed string, err error) {
	at := []step{{path: "/"}}
	if at[0].closed, err = inspectOne("/", ""); err != nil {
		return "", err
	}
	links := 0
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		here := at[len(at)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			at = at[:max(len(at)-1, 1)]
			continue
		}
		next := filepath.Join(here.path, name)
		info, err := os.Lstat(next) //nolint:gosec // looking at each part of the path is the purpose
		if err != nil {
			return "", err
		}
		if info.Mode().Type() == fs.ModeSymlink {
			target, err := readLink(next, info)
			if err != nil {
				return "", err
			}
			if links++; links > maxLinks {
				return "", &fs.PathError{Op: "lstat", Path: path, Err: unix.ELOOP}
			}
			if filepath.IsAbs(target) {
				at = at[:1]
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		}
		closed, err := inspectOne(next, here.closed)
		if err != nil {
			return "", err
		}
		at = append(at, step{next, closed})
	}
	return at[len(at)-1].closed, nil
}

// step is a directory on the way to another. The field closed has the first
// directory on the way to it that only its owner can enter, which may be path
// itself.
type step struct{ path, closed string }

// readLink reads a symbolic link. It is an error if another user can replace
// the link.
func readLink(path string, info fs.FileInfo) (string, error) {
	if err := inspectOwner(path, info); err != nil {
		return "", err
	}
	return os.Readlink(path)
}

// inspectOne returns an error if another user can rename or replace files in the
// directory.
func inspectOne(path, closed string) (string, error) {
	info, err := os.Lstat(path) //nolint:gosec // looking at each part of the path is the purpose
	switch {
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", &fs.PathError{Op: "lstat", Path: path, Err: unix.ENOTDIR}
	}
	if err := inspectOwner(path, info); err != nil {
		return "", err
	}
	if info.Mode().Perm()&othersWrite != 0 && info.Mode()&fs.ModeSticky == 0 && closed == "" {
		return "", fmt.Errorf("other users can rename and replace files in %s (mode %v): remove their permission to write (chmod go-w), or set the sticky bit (chmod +t)", path, info.Mode())
	}
	if closed == "" && info.Mode().Perm()&othersEnter == 0 {
		closed = path
	}
	return closed, nil
}

func inspectOwner(path string, info fs.FileInfo) error {
	owner, ok := ownerOf(info)
	if !ok || owner == 0 || owner == os.Geteuid() || isUnmapped(owner) {
		return nil
	}
	return fmt.Errorf("user %d owns %s, and can replace it and the files in it, while this process runs as user %d", owner, path, os.Geteuid())
}

func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

func describeTemp(dir string) string {
	if os.Getenv("TMPDIR") == "" {
		return "TMPDIR is not set, so " + dir
	}
	return "TMPDIR=" + dir
}
