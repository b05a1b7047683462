package plugin

import (
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/process"
)

// lifeline watches the pipe whose other end the host holds, until this process
// ends: also when Serve has returned, a killed host must leave nothing behind. A
// nil lifeline watches nothing: a foreign host gave none.
type lifeline struct {
	pipe *process.Lifeline

	// mu guards listener. It is held while one is opened, and by watch for good
	// once the host is gone.
	mu       sync.Mutex
	listener net.Listener
}

func openLifeline(fd int) (*lifeline, error) {
	if fd == 0 {
		return nil, nil
	}
	pipe, err := process.OpenLifeline(fd)
	if err != nil {
		return nil, err
	}
	l := &lifeline{pipe: pipe}
	// With the host gone, a write to standard output or error would end this
	// process before watch has removed the socket. Now it only fails.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go l.watch()
	return l, nil
}

// watch ends the process group when the host has ended. There is nobody left to
// drain for, and a handler may be stuck, so nothing is waited for.
func (l *lifeline) watch() {
	_, _ = io.Copy(io.Discard, l.pipe) // however it ends, nothing watches any more
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close() // removes the socket
	}
	l.pipe.KillGroup()
}

// listen opens a listener that is closed when the host is gone, also if that
// happens while it is being opened: no socket is left behind.
func (l *lifeline) listen(open func() (net.Listener, error)) (net.Listener, error) {
	if l == nil {
		return open()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ln, err := open()
	if err == nil {
		l.listener = ln
	}
	return ln, err
}

// release waits for the end if the host is gone: the listener that watch has
// closed must not make Serve return, and this process end, before its group
// does.
func (l *lifeline) release() {
	if l != nil {
		l.mu.Lock()
		l.listener = nil
		l.mu.Unlock()
	}
}
