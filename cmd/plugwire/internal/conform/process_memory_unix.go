//go:build linux || darwin

package conform

import (
	"runtime"
	"syscall"
)

// PeakMemory returns the most memory that the process, which has ended, was resident with,
// in bytes, and whether the system knows.
func (p *Process) PeakMemory() (bytes int64, known bool) {
	<-p.exited
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, false
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss, true
	}
	return usage.Maxrss << 10, true // Linux counts in KiB
}
