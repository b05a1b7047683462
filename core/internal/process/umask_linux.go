package process

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// UmaskIsPrivate reports whether other users can connect to no socket that a process
// makes which this one has started, and which changes nothing of its mode. It reads
// the umask from the kernel: to ask for it by umask(2) would change it.
func UmaskIsPrivate() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	_, line, found := bytes.Cut(status, []byte("\nUmask:"))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	umask, err := strconv.ParseUint(strings.TrimSpace(string(line)), 8, 32)
	const write = 0o022 // by the group and by others: what connect(2) asks for
	return found && err == nil && umask&write == write
}
