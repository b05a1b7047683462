package privdir

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// isUnmapped reports whether uid is the number that a user namespace shows for every
// user that it does not know. In a namespace of one user ("unshare -r") that is
// also the owner of "/", so this process cannot tell root from others. The
// permissions to write still count.
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
			return true // it has no such form, so nothing is known
		}
		if uid >= first && uid-first < count {
			return true
		}
	}
	return false
}
