package hosts

import (
	"os"
	"regexp"
	"strconv"
)

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+([0-9]+) kB$`)

// peakMemory returns the most memory that a process has been resident with until now, in
// bytes; 0 if it has ended. The kernel's figures for a process that has ended are useless:
// they include the memory of the process that started it.
func peakMemory(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	match := peakLine.FindSubmatch(text)
	if match == nil {
		return 0
	}
	kib, err := strconv.ParseInt(string(match[1]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
