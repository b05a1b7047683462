package host

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	osuser "os/user"
	"strconv"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// WithSocketGroup lets the members of a group use the plugin's sockets and those of the
// broker, and make files in the plugin's private directory. The group is a number or a
// name. go-plugin's UnixSocketConfig.Group does the same. The option is for a plugin
// that runs as a user that the host does not know, as in a container, and shares a
// group with the host.
//
// It does not change authentication. If the plugin has another user than its command
// names, peer credentials do not hold: add [WithMutualTLS], or use a runner that is a
// [CredentialKeeper]. This process must be root or a member of the group.
func WithSocketGroup(group string) Option {
	return optionFunc(func(cfg *config) error {
		if !privdir.Supported {
			return fmt.Errorf("host.WithSocketGroup: sockets have no groups on this system: %w", errors.ErrUnsupported)
		}
		gid, err := groupID(group)
		if err != nil {
			return fmt.Errorf("host.WithSocketGroup(%q): %w", group, err)
		}
		cfg.socketGroup = strconv.Itoa(gid)
		return nil
	})
}

// WithTempDir sets the directory in which the plugin's private directory is made. It exists,
// and no user but this one and root can change a part of its path. The default is
// XDG_RUNTIME_DIR, or else the directory for temporary files. go-plugin's
// UnixSocketConfig.TempDir does the same.
func WithTempDir(dir string) Option {
	return optionFunc(func(cfg *config) error {
		if !privdir.Supported {
			return fmt.Errorf("host.WithTempDir: there are no private directories on this system: %w", errors.ErrUnsupported)
		}
		cfg.tempDir = dir
		return nil
	})
}

// directoryUser returns the user that gets the private directory, nil if only this
// process's user needs it.
func (c *config) directoryUser(cmd *exec.Cmd) *privdir.User {
	u := pluginUser(cmd)
	gid, err := strconv.Atoi(c.socketGroup)
	if err != nil {
		return u // there is no group
	}
	if u == nil {
		u = &privdir.User{UID: os.Geteuid()}
	}
	return &privdir.User{UID: u.UID, GID: gid, Shared: true}
}

// maxGroup is the largest number of a group. The next number means no change of the group.
const maxGroup int64 = math.MaxUint32 - 1

// groupID returns the number of a group. As in go-plugin, a number is taken for a number
// first, then for a name.
func groupID(group string) (int, error) {
	if gid, err := strconv.Atoi(group); err == nil && gid >= 0 {
		if int64(gid) > maxGroup { // the kernel would take the low 32 bits: another group
			return 0, fmt.Errorf("the number of a group is at most %d", maxGroup)
		}
		return gid, nil
	}
	g, err := osuser.LookupGroup(group)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}
