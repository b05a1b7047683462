//go:build unix

package privdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Supported says whether this system has private directories.
const Supported = true

// Dir is a directory that only this user can enter, or also the user of a plugin.
// It is locked until this process ends. Its methods are safe for concurrent use.
type Dir struct {
	own    string   // this user's
	plugin string   // where the plugin may write: own, or a directory in own
	lock   *os.File // descriptor of own

	found    []string // found by Look
	sweeping sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// attempts bounds how often another host can remove a new directory in the
// instant before New locks it.
const attempts = 10

// These are the modes of directories. The sticky bit changes nothing in a directory
// in which only its owner may write. It marks the directory as made by New, so that
// a sweep removes everything in it.
const (
	ownMode    = 0o700 | fs.ModeSticky
	sharedMode = 0o710 | fs.ModeSticky // the plugin's group may pass through
	pluginMode = 0o700
	groupMode  = 0o770                 // a group may write in the plugin's directory
	passedMode = 0o711 | fs.ModeSticky // every user may pass through
)

// pluginName is the name of the directory for another user, inside the one for
// this user.
const pluginName = "p"

// New makes a private directory. If user is not nil, the plugin runs as that user and
// gets a directory inside the private one. So the plugin cannot rename or replace any
// part of the path to its directory.
func New(user *User) (*Dir, error) { return NewIn("", user) }

// NewIn is [New] below the directory base; empty means where New makes it. No user but this
// one and root may be able to change a part of the path to base.
func NewIn(base string, user *User) (*Dir, error) {
	d, err := newDir(base, user)
	if err != nil && !errors.Is(err, errGive) { // the error would be the same in every directory
		err = fmt.Errorf("%w: %w", ErrDir, err)
	}
	return d, err
}

var errGive = errors.New("only root may give a directory to the user that the plugin runs as (SysProcAttr.Credential)")

func newDir(base string, user *User) (*Dir, error) {
	var err error
	source := base
	if base == "" {
		base, source, err = findBase(user)
	} else if base, err = filepath.Abs(base); err == nil {
		_, err = inspect(base)
	}
	if err != nil {
		return nil, err
	}
	d, err := makeDir(base)
	for n := 1; errors.Is(err, errSwept) && n < attempts; n++ {
		d, err = makeDir(base)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if user == nil {
		return d, nil
	}
	if err := d.share(user); err != nil {
		if closeErr := d.Close(); closeErr != nil {
			err = fmt.Errorf("%w (%w)", err, closeErr)
		}
		return nil, err
	}
	return d, nil
}

// errSwept means that a sweep has locked or removed a new directory.
var errSwept = errors.New("each time another process removed the new directory at once")

func makeDir(base string) (*Dir, error) {
	path, err := os.MkdirTemp(base, prefix)
	if err != nil {
		return nil, err
	}
	lock, err := prepareDir(path)
	if err != nil {
		_ = os.Remove(path) // the directory is empty, or another host has removed it
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			err = errSwept
		}
		return nil, err
	}
	return &Dir{own: path, plugin: path, lock: lock}, nil
}

// prepareDir gives a new directory its mode, whatever the umask is, and locks it.
func prepareDir(path string) (*os.File, error) {
	if err := os.Chmod(path, ownMode); err != nil {
		return nil, err
	}
	return lockDir(path)
}

// share makes the directory of another user in d.
func (d *Dir) share(user *User) error {
	plugin := filepath.Join(d.own, pluginName)
	outer, inner, group := sharedMode, fs.FileMode(pluginMode), -1
	if user.Shared {
		// The plugin's user may be in the group only by its supplementary groups, or by
		// those of a container. So the plugin need not be in the group of the outer
		// directory to reach the inner one, which nobody else may enter.
		outer, inner, group = passedMode, groupMode, user.GID
	}
	err := os.Mkdir(plugin, inner)
	if err == nil {
		err = os.Lchown(plugin, user.UID, group)
	}
	if err == nil {
		err = os.Chmod(plugin, inner) // whatever the umask is
	}
	if err == nil && !user.Shared {
		err = d.lock.Chown(-1, user.GID)
	}
	if errors.Is(err, unix.EPERM) && user.Shared && user.UID == os.Geteuid() {
		return fmt.Errorf("this process may not give its directory to group %d, because it is not a member: %w", user.GID, err)
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: that is user %d, and this process runs as user %d", errGive, user.UID, os.Geteuid())
	}
	if err == nil {
		err = d.lock.Chmod(outer)
	}
	d.plugin = plugin
	return err
}

// Path returns the absolute path of the directory in which the plugin may write.
func (d *Dir) Path() string { return d.plugin }

// Own returns the absolute path of the directory in which only this user may write.
// The plugin can enter it.
func (d *Dir) Own() string { return d.own }

// Close removes the directory and its contents, within a bounded time. An error
// names what is left, which a later sweep removes. Close is idempotent.
func (d *Dir) Close() error {
	d.closing.Do(func() {
		d.sweeping.Wait()
		d.closeErr = d.remove(time.Now().Add(removeTimeout))
	})
	return d.closeErr
}

func (d *Dir) remove(deadline time.Time) error {
	_ = d.lock.Chmod(ownMode) // a plugin of the same user may have removed the permissions
	err := empty(d.lock, deadline)
	if err == nil {
		err = os.Remove(d.own)
	}
	if err = errors.Join(err, d.lock.Close()); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%w %s stays: %w", ErrDir, d.own, err)
}

// findBase returns where private directories are made: the user's runtime
// directory, which is short, in memory and cleared at log-out, or else the
// directory for temporary files. A plugin of another user cannot enter the former.
// It also returns the environment variable that names the directory.
func findBase(user *User) (base, source string, err error) {
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	if user == nil && filepath.IsAbs(runtime) && isOwn(runtime) {
		if _, err := inspect(runtime); err == nil {
			return runtime, "XDG_RUNTIME_DIR=" + runtime, nil
		}
	}
	base, closed, err := tempDir()
	source = describeTemp(os.TempDir())
	if err == nil && user != nil && closed != "" {
		err = fmt.Errorf("%s: user %d, which the plugin runs as, cannot enter %s", source, user.UID, closed)
	}
	return base, source, err
}

// isOwn reports whether path is a directory of this user that no other user can
// enter. After "su", XDG_RUNTIME_DIR is another user's.
func isOwn(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // the user's own environment
	if err != nil {
		return false
	}
	owner, ok := ownerOf(info)
	return ok && owner == os.Geteuid() && info.IsDir() && info.Mode().Perm()&0o077 == 0
}

// lockDir locks the directory itself. So even an empty directory tells whether its
// host is running.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0) //nolint:gosec // made or found by this package
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = &fs.PathError{Op: "flock", Path: path, Err: err}
	} else {
		err = sameFile(f, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func sameFile(f *os.File, path string) error {
	held, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(held, there) {
		return &fs.PathError{Op: "lstat", Path: path, Err: fs.ErrNotExist}
	}
	return nil
}
