package doctor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// isNoexec reports whether the file's system is mounted without the right to execute.
func isNoexec(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}

// oomKills returns how often the kernel has ended a process of this process's cgroup for
// want of memory; 0 if that is not known.
func oomKills() int {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(groups)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		events, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", group, "memory.events"))
		if err != nil {
			return 0
		}
		for event := range strings.Lines(string(events)) {
			if count, ok := strings.CutPrefix(strings.TrimSpace(event), "oom_kill "); ok {
				n, _ := strconv.Atoi(count) // 0 is not known
				return n
			}
		}
	}
	return 0
}
