//go:build unix

package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasUnix and hasPeerCred say what this system has.
const (
	hasUnix     = true
	hasPeerCred = true
)

// leadsSession reports whether this process leads a session, and whether the system knows.
func leadsSession() (leads, known bool) {
	id, err := unix.Getsid(0)
	return id == os.Getpid(), err == nil
}

// endGroup kills the group of this process, if it leads one.
func endGroup() {
	if unix.Getpgrp() == os.Getpid() {
		_ = unix.Kill(-os.Getpid(), syscall.SIGKILL)
	}
}

// inspectPipes compares the descriptors that the offer names with what it says about them,
// and keeps them from children.
func inspectPipes(o *Offer) (wrong []string) {
	identities := map[int]string{}
	for _, item := range o.List("identities") {
		fd, identity, _ := strings.Cut(item, ":")
		if n, err := strconv.Atoi(fd); err == nil {
			identities[n] = identity
		}
	}
	for _, key := range []string{"lifeline", "leash"} {
		if !o.Has(key) {
			continue
		}
		fd, err := strconv.Atoi(o.Get(key))
		if err != nil || fd < 3 || fd > 65535 {
			wrong = append(wrong, fmt.Sprintf("%s=%s is not a descriptor", key, o.Get(key)))
			continue
		}
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: descriptor %d: %v", key, fd, err))
			continue
		}
		unix.CloseOnExec(fd)
		if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
			wrong = append(wrong, fmt.Sprintf("%s: descriptor %d is not a pipe", key, fd))
		}
		identity := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
		if told, ok := identities[fd]; ok && told != identity {
			wrong = append(wrong, fmt.Sprintf("%s: descriptor %d is %s, and identities has %s", key, fd, identity, told))
		}
	}
	return wrong
}
