package leash

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Leash makes the kernel end a process group: when the last process that holds the
// leash has ended, in whatever way, the kernel sends SIGKILL to the group. The host
// holds the leash of each plugin. A plugin that cleans up after a dead host holds it
// too, and has the time for that. So nothing is left running when both die in the
// same moment, or when the host dies while its plugin's group is not yet gone. A
// plugin that does not know of the leash ends with its host.
//
// A leash is a pipe whose readers have asked for a signal (O_ASYNC, F_SETSIG). The
// kernel sends the signal when the last writer is gone, if a reader is left. The kernel
// closes the descriptors of a process that ends in the order of their numbers, or in
// the opposite order: that depends on its version. So a holder has a reader on either
// side of its writer. The kernel remembers the group itself and not its number: a later
// group with the same number is never sent anything.
//
// A group can be tied only when its process has been started. If the host is killed
// before that, the process gets the parent-death signal, but what it has started in that
// moment lives on.
type Leash struct {
	inherit *os.File // for the plugin, which opens its own ends by it
	holder
	once sync.Once // closes holder
}

// holder is what one process holds of a leash: a reader, the writer and another
// reader, with rising numbers.
type holder [3]int

// leashMode is that of the pipe: a plugin of another user opens it anew too. Only a
// process that already has a descriptor for it can do that.
const leashMode = 0o666

// New returns a leash that is not yet tied to a group. Where the system has none,
// the error is [errors.ErrUnsupported].
func New() (*Leash, error) {
	if !leashSupported() {
		return nil, errors.ErrUnsupported
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("leash: %w", err)
	}
	defer w.Close() //nolint:errcheck // the holder has another
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

// leashSupported reports whether the kernel sends the signal only when the last
// writer is gone. Before Linux 5.6 it did whenever one of several was.
func leashSupported() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 6)
}

// newHolder opens a holder's ends of the pipe of which f is one.
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
	// Until it is tied to a group there is nobody to send it to.
	if err = errors.Join(notify(h[0], unix.SIGKILL), notify(h[2], unix.SIGKILL)); err != nil {
		h.close(len(h))
	}
	return h, err
}

// openAbove opens a file under a number that is at least as high.
func openAbove(path string, mode, least int) (int, error) {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil || fd >= least {
		return fd, err
	}
	defer unix.Close(fd) //nolint:errcheck // it is the same file
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least)
}

// notify makes the kernel send a signal to the owner of one end of a pipe when the last
// other end is gone. It also does when something is written to a leash or a lifeline, or
// is read from a full pipe.
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

// own makes a process the one that the signal of an end of a pipe is sent to; a negative
// number is that of a group, and 0 is nobody.
func own(end, pid int) error {
	_, err := unix.FcntlInt(uintptr(end), unix.F_SETOWN, pid)
	return err
}

// tie makes the group the one that is ended; 0 is none.
func (h holder) tie(pgid int) error { return errors.Join(own(h[0], -pgid), own(h[2], -pgid)) }

// close closes the first n: the readers before the writer, which then tells nobody.
func (h holder) close(n int) {
	for _, i := range [...]int{0, 2, 1} {
		if i < n {
			_ = unix.Close(h[i]) // nothing was written to it
		}
	}
}

// File returns what the plugin is to inherit.
func (l *Leash) File() *os.File { return l.inherit }

// Inherited closes that file, once the plugin has it.
func (l *Leash) Inherited() {
	if l != nil {
		_ = l.inherit.Close() // nothing was written to it
	}
}

// TieTo makes the group of p the one that is ended, unless p has been waited for: its
// number may then be another's.
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

// Close gives the leash up, for the group is gone.
func (l *Leash) Close() {
	if l != nil {
		l.Inherited()
		l.once.Do(func() { l.close(len(l.holder)) })
	}
}

// Hold makes this process one that holds the leash of a group, until it ends. f is what
// it has inherited of the leash ([Leash.File]), and stays the caller's.
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
