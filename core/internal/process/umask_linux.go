package process

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// UmaskIsPrivate reports whether the umask keeps other users from connecting to sockets of
// the processes that this one starts, as long as they do not change the mode. It reads the
// umask from /proc, because umask(2) would change it.
func UmaskIsPrivate() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	_, line, found := bytes.Cut(status, []byte("\nUmask:"))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	umask, err := strconv.ParseUint(strings.TrimSpace(string(line)), 8, 32)
	const write = 0o022 // for the group and for others: connect(2) needs it
	return found && err == nil && umask&write == write
}
