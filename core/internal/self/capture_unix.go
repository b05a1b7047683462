//go:build unix

package self

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// redirectStdout makes w standard output, at descriptor level.
func redirectStdout(w *os.File) (original *os.File, restore func() error, err error) {
	fd, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	original = os.NewFile(uintptr(fd), os.Stdout.Name())
	// C code and children know nothing of Go's way to wait.
	if err = unix.SetNonblock(int(w.Fd()), false); err == nil {
		err = dup2(int(w.Fd()), unix.Stdout)
	}
	if err != nil {
		_ = original.Close() // nothing was written to it
		return nil, nil, err
	}
	return original, func() error { return errors.Join(dup2(fd, unix.Stdout), w.Close()) }, nil
}

// restoreStderr makes w standard error, at descriptor level: it is os.Stderr, which
// other goroutines use, and which loggers have kept.
func restoreStderr(original, w *os.File) error {
	if err := dup2(int(original.Fd()), int(w.Fd())); err != nil {
		return err
	}
	unix.CloseOnExec(int(w.Fd())) // as before
	return nil
}

// pipeSize is how much a pipe holds, in bytes, unless somebody asks for more.
const pipeSize = 64 << 10

// flush passes on what was printed until now. Another process may go on printing, and
// faster than that can be passed on: what a pipe holds is as much as can have been
// printed until now.
func (p *capturePipe) flush() {
	// A read that has to wait ends; then what is there is read without waiting. An
	// error would be that of a file without deadlines, which a pipe is not.
	_ = p.read.SetReadDeadline(time.Now())
	p.done.Wait()
	_ = p.read.SetReadDeadline(time.Time{})
	raw, err := p.read.SyscallConn()
	if err != nil {
		return // it is closed
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
