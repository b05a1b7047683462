package privdir

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// isUnmapped reports whether uid is the number that a user namespace shows for every
// user outside of it. In a namespace of one user ("unshare -r") this number also
// owns "/", so this process cannot tell root from other users. The permissions to
// write still count.
func isUnmapped(uid int) bool {
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil || strings.TrimSpace(string(overflow)) != strconv.Itoa(uid) {
		return false
	}
	ranges, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	return !inMap(string(ranges), uid)
}

// inMap reports whether uid is in one of the ranges (user_namespaces(7)).
func inMap(ranges string, uid int) bool {
	for line := range strings.Lines(ranges) {
		var first, outside, count int
		if _, err := fmt.Sscan(line, &first, &outside, &count); err != nil {
			return true // the file has another form, so no range is known
		}
		if uid >= first && uid-first < count {
			return true
		}
	}
	return false
}
