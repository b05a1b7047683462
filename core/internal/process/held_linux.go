package process

import (
	"fmt"
	"os"
	"syscall"
)

// holders returns the names of the processes that have the output open for writing.
func (p *Process) holders() (names []string) {
	pipes := make(map[string]bool)
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if info, err := f.Stat(); err == nil {
			pipes[fmt.Sprintf("pipe:[%d]", info.Sys().(*syscall.Stat_t).Ino)] = true
		}
	}
	for pid := range processes() {
		if pid == os.Getpid() || isBeingStarted(pid) {
			continue
		}
		// The rest of the group was killed, and is ending.
		if s, err := readStat(pid); err != nil || s.group == p.PID() {
			continue
		}
		if hasOpen(pid, func(dir, fd, target string) bool { return pipes[target] && isWritable(dir+"fdinfo/"+fd) }) {
			names = append(names, describeProcess(pid))
		}
	}
	return names
}
