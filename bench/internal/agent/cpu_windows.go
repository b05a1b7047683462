package agent

import (
	"os"
	"syscall"
	"time"
)

// filetimeUnit is the unit of the times below.
const filetimeUnit = 100 * time.Nanosecond

// processorTime returns the time that this process has used.
func processorTime() (time.Duration, error) {
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, os.NewSyscallError("GetCurrentProcess", err)
	}
	var created, exited, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(self, &created, &exited, &kernel, &user); err != nil {
		return 0, os.NewSyscallError("GetProcessTimes", err)
	}
	units := func(t syscall.Filetime) time.Duration {
		return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * filetimeUnit
	}
	return units(kernel) + units(user), nil
}
