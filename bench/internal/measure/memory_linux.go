package measure

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
)

// anonymousMemory returns the bytes of a process that are neither files nor shared.
func anonymousMemory(pid int) (bytesUsed int64, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "RssAnon: %d kB", &kib); n == 1 { // other lines have other names
			return kib << 10, true
		}
	}
	return 0, false
}
