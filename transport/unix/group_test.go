//go:build unix

package unix_test

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestGroup checks that a group may use the socket, and the socket's own
// directory.
func TestGroup(t *testing.T) {
	gid := os.Getgid()
	group, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{strconv.Itoa(gid), group.Name} {
		ln, err := unix.New().Listen(t.Context(), transport.ListenConfig{Version: 1, Group: name})
		if err != nil {
			t.Fatal(err)
		}
		path := ln.Addr().String()
		for file, want := range map[string]os.FileMode{path: 0o660, filepath.Dir(path): 0o710} {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want || int(info.Sys().(*syscall.Stat_t).Gid) != gid {
				t.Errorf("%s: mode %o of group %d, want %o of %d", file, got, info.Sys().(*syscall.Stat_t).Gid, want, gid)
			}
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := unix.New().Listen(t.Context(), transport.ListenConfig{Version: 1, Group: "no such group"}); err == nil || !strings.Contains(err.Error(), "group for the socket") {
		t.Errorf("a group that does not exist: %v", err)
	}
}
