//go:build unix

package plugins

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/net/http2"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// nobody is a user that is not the plugin's.
const nobody = 65534

// anotherUser lets a process of another user reach the socket, and connect. Only root can
// start one.
func (s *suite) anotherUser(ctx context.Context, c *conform.Case) error {
	if os.Geteuid() != 0 {
		return conform.NotApplicable("only root can be another user")
	}
	p, err := s.onUnix(ctx, c, ours("security", "peercred"))
	if err != nil {
		return err
	}
	for _, path := range []string{c.Dir, filepath.Dir(p.address), p.address} {
		if err := os.Chmod(path, 0o777); err != nil {
			return err
		}
	}
	command, err := c.RoleCommand("plugin-stranger", p.address, hex.EncodeToString(append(p.preamble(purposeCalls), http2.ClientPreface...)))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	if runtime.GOOS == "linux" {
		cmd.Path = "/proc/self/exe" // the other user may not be able to enter the program's directory
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Env = []string{}
	cmd.Dir = "/"
	printed, err := cmd.Output()
	if errors.Is(err, fs.ErrPermission) {
		return conform.NotApplicable("another user cannot run this program: %v", err)
	}
	if err != nil {
		return err
	}
	read := strings.TrimSpace(string(printed))
	if strings.HasPrefix(read, "dial:") {
		return conform.NotApplicable("another user cannot reach the socket: %s", read)
	}
	if read != "0" {
		return conform.Fail("the connection of another user is closed", "it is served", "ask the kernel for the user of the peer, and close the connection unless it is your own or root")
	}
	return p.serves(ctx, "after it has refused another user")
}
