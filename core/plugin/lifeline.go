package plugin

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"github.com/plugwire/plugwire/core/internal/process"
)

// lifeline watches the pipe whose other end the host holds. A nil lifeline
// watches nothing: a foreign host gave none.
type lifeline struct {
	pipe *os.File
	done chan struct{} // closed when the goroutine of watch has ended

	mu       sync.Mutex // guards listener; held while one is opened
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
	l := &lifeline{pipe: pipe, done: make(chan struct{})}
	go l.watch()
	return l, nil
}

// watch ends the process group when the host has ended. There is nobody left to
// drain for, and a handler may be stuck, so nothing is waited for.
func (l *lifeline) watch() {
	defer close(l.done)
	_, err := io.Copy(io.Discard, l.pipe)
	if errors.Is(err, os.ErrClosed) {
		return // this side is stopping
	}
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close() // removes the socket
	}
	process.KillGroup()
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

func (l *lifeline) close() {
	if l != nil {
		_ = l.pipe.Close()
		<-l.done
	}
}
