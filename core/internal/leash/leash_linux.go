package leash

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Leash makes the kernel end a process group. When the last process that holds the leash
// has ended, in whatever way, the kernel sends SIGKILL to the group. The host holds the
// leash of each plugin. A plugin that cleans up after a dead host holds it too, so that it
// has time to do so. Nothing is left running when both die at the same moment, or when the
// host dies before its plugin's group is gone. A plugin that does not hold its leash ends
// with its host.
//
// A leash is a pipe whose readers have asked for a signal (O_ASYNC, F_SETSIG). The kernel
// sends the signal when the last writer is gone, if a reader is left. When a process ends,
// the kernel closes its descriptors in rising or falling order of their numbers, which
// depends on the version of the kernel. So a holder has a reader on either side of its
// writer. The kernel remembers the group itself, not its number, so a later group with the
// same number never gets the signal.
//
// A leash can be tied to a group only after its process was started. If the host is killed
// before that, the process gets the parent-death signal. What the process has started by
// then lives on.
type Leash struct {
	inherit *os.File // the plugin inherits it, and opens its own ends through it
	holder
	once sync.Once // closes holder
}

// holder is what one process holds of a leash: a reader, a writer and another reader, with
// rising numbers.
type holder [3]int

// leashMode is the mode of the pipe: a plugin of another user has to open it too. Only a
// process that already has a descriptor of the pipe can do that.
const leashMode = 0o666

// New returns a leash that is not tied to a group. The error is [errors.ErrUnsupported] where
// the system has no leash.
func New() (*Leash, error) {
	if !leashSupported() {
		return nil, errors.ErrUnsupported
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("leash: %w", err)
	}
	defer w.Close() //nolint:errcheck // the holder has another writer
	l := &Leash{inherit: r}
	if err = r.Chmod(leashMode); err == nil {
		l.holder, err = newHolder(r)
	}
	if err != nil {
		_ = r.Close() // nothing was written to it
		return nil, fmt.Errorf("leash: %w", err)
	}
	return l, nil
}

// leashSupported reports whether the kernel sends the signal only when the last writer is
// gone. Before Linux 5.6 it sent the signal whenever one of several writers closed.
func leashSupported() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 6)
}

// newHolder opens a holder's ends of the pipe that f is an end of.
func newHolder(f *os.File) (h holder, err error) {
	err = control(f, func(fd int) error {
		h, err = holderOf(fmt.Sprintf("/proc/self/fd/%d", fd))
		return err
	})
	return h, err
}

func holderOf(path string) (h holder, err error) {
	least := 0
	for i, mode := range [...]int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDONLY} {
		if h[i], err = openAbove(path, mode, least); err != nil {
			h.close(i)
			return h, err
		}
		least = h[i] + 1
	}
	// The signal goes nowhere until the leash is tied to a group.
	if err = errors.Join(notify(h[0], unix.SIGKILL), notify(h[2], unix.SIGKILL)); err != nil {
		h.close(len(h))
	}
	return h, err
}

// openAbove opens a file under a number that is not below least.
func openAbove(path string, mode, least int) (int, error) {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil || fd >= least {
		return fd, err
	}
	defer unix.Close(fd) //nolint:errcheck // the duplicate stays
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least)
}

// notify makes the kernel send a signal to the owner of one end of a pipe when the last
// other end is closed. The kernel also sends it after a write to the pipe, or after a read
// from a full one.
func notify(end int, sig unix.Signal) error {
	fd := uintptr(end)
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETSIG, int(sig))
	}
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_ASYNC)
	}
	return err
}

// own makes a process the owner of an end of a pipe: the one that gets its signal. A
// negative number stands for a group, and 0 for no process.
func own(end, pid int) error {
	_, err := unix.FcntlInt(uintptr(end), unix.F_SETOWN, pid)
	return err
}

// tie makes the kernel end this group. 0 stands for no group.
func (h holder) tie(pgid int) error { return errors.Join(own(h[0], -pgid), own(h[2], -pgid)) }

// close closes the first n: the readers before the writer, so that no signal is sent.
func (h holder) close(n int) {
	for _, i := range [...]int{0, 2, 1} {
		if i < n {
			_ = unix.Close(h[i]) // nothing was written to it
		}
	}
}

// File returns the file that the plugin inherits.
func (l *Leash) File() *os.File { return l.inherit }

// Inherited closes the file of [Leash.File] once the plugin has it.
func (l *Leash) Inherited() {
	if l != nil {
		_ = l.inherit.Close() // nothing was written to it
	}
}

// TieTo makes the kernel end the group that p leads, unless p was waited for: its number may
// then belong to another process.
func (l *Leash) TieTo(p *os.Process) error {
	if l == nil {
		return nil
	}
	err := l.tie(p.Pid)
	if errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return l.tie(0)
	}
	if err != nil {
		return fmt.Errorf("leash: %w", err)
	}
	return nil
}

// Close gives the leash up, after the group has ended.
func (l *Leash) Close() {
	if l != nil {
		l.Inherited()
		l.once.Do(func() { l.close(len(l.holder)) })
	}
}

// Hold makes this process hold the leash of a group until this process ends. f is the file
// that it has inherited ([Leash.File]). The caller closes f.
func Hold(f *os.File, group int) error {
	h, err := newHolder(f)
	if err != nil {
		return err
	}
	return h.tie(group)
}

// ResumeAtEnd makes the kernel send SIGCONT to this process when the other end of a pipe
// is closed everywhere, as when the host is gone. A process that is stopped at that
// moment could not end itself and its group.
func ResumeAtEnd(pipe *os.File) error {
	return control(pipe, func(fd int) error { return errors.Join(notify(fd, unix.SIGCONT), own(fd, unix.Getpid())) })
}

// control calls f with the descriptor of a file.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = f(int(fd)) })
	return errors.Join(err, result)
}
