package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// descriptorDir is where a process finds its own descriptors by their numbers.
const descriptorDir = "/proc/self/fd/"

// newMemory returns a file in memory that can be sealed and executed. The sysctl
// vm.memfd_noexec or a filter of system calls may forbid that.
func newMemory() (*os.File, error) {
	if _, err := os.Stat(descriptorDir); err != nil {
		return nil, err
	}
	const name = "plugwire"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every such file was executable, and the flag did not exist
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "copy in memory"), nil
}

// seal makes the file immutable for every process, whatever its rights.
func seal(f *os.File) error {
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal the copy of the program: %w", err)
	}
	return nil
}
