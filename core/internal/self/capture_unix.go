//go:build unix

package self

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// redirectStdout makes w standard output, at the level of descriptors.
func redirectStdout(w *os.File) (original *os.File, restore func() error, err error) {
	fd, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	original = os.NewFile(uintptr(fd), os.Stdout.Name())
	// C code and children expect a descriptor that blocks.
	if err = unix.SetNonblock(int(w.Fd()), false); err == nil {
		err = dup2(int(w.Fd()), unix.Stdout)
	}
	if err != nil {
		_ = original.Close() // nothing was written to it
		return nil, nil, err
	}
	return original, func() error { return errors.Join(dup2(fd, unix.Stdout), w.Close()) }, nil
}

// restoreStderr makes w standard error, at the level of descriptors. Other goroutines use
// os.Stderr, which w is, and loggers have kept it.
func restoreStderr(original, w *os.File) error {
	if err := dup2(int(original.Fd()), int(w.Fd())); err != nil {
		return err
	}
	unix.CloseOnExec(int(w.Fd())) // dup2 has cleared the flag
	return nil
}

// pipeSize is how many bytes a pipe holds by default.
const pipeSize = 64 << 10

// flush passes on what was printed until now. Another process may go on printing, faster
// than flush can pass the output on. So flush reads no more than a pipe holds: what was
// printed until now cannot be more.
func (p *capturePipe) flush() {
	// The deadline ends a read that blocks. The rest is then read without blocking. The
	// only error would be that of a file without deadlines, and a pipe has them.
	_ = p.read.SetReadDeadline(time.Now())
	p.done.Wait()
	_ = p.read.SetReadDeadline(time.Time{})
	raw, err := p.read.SyscallConn()
	if err != nil {
		return // the pipe is closed
	}
	buf := make([]byte, captureBuffer)
	for left, more := pipeSize, true; more && left > 0; {
		more = false
		_ = raw.Read(func(fd uintptr) bool {
			if n, err := unix.Read(int(fd), buf); err == nil && n > 0 {
				p.put(buf[:n])
				left -= n
				more = true
			}
			return true
		})
	}
}
