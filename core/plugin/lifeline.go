package plugin

import (
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/self"
)

// lifeline watches a pipe whose other end the host holds, until this process
// ends: also when Serve has returned, a killed host must leave nothing behind. A
// nil lifeline watches nothing.
type lifeline struct {
	host watched

	// mu guards listeners. It is held while one is opened, and by run for good
	// once the host is gone.
	mu        sync.Mutex
	listeners []net.Listener
}

// watched is the host: a Read ends when it does.
type watched interface {
	io.Reader
	// KillGroup ends this process and does not return.
	KillGroup()
}

// openLifeline opens the one that a Plugwire host has given, if it has, or the next
// best thing.
func openLifeline(offer *negotiation.Offer, logger *slog.Logger) (*lifeline, error) {
	if offer.Lifeline == 0 {
		return nil, nil
	}
	ties := self.Ties{Lifeline: descriptor(offer, offer.Lifeline), Leash: descriptor(offer, offer.Leash), Host: offer.HostPID}
	ties.Lifeline.Pipe, ties.Leash.Pipe = true, true
	host, err := self.OpenLifeline(ties)
	if host == nil {
		return nil, err
	}
	if err != nil {
		logger.Warn("what this plugin has to notice the end of its host by is not what the host passed on", "error", err)
	}
	return watch(host), nil
}

// watch makes a lifeline of a host.
func watch(host watched) *lifeline {
	l := &lifeline{host: host}
	notifyBrokenPipe()
	go l.run()
	return l
}

// notifyBrokenPipe lets a write to standard output or error only fail that would
// otherwise end this process: with the host gone, before run has removed the
// socket.
func notifyBrokenPipe() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// run ends the process group when the host has ended. There is nobody left to
// drain for, and a handler may be stuck, so nothing is waited for.
func (l *lifeline) run() {
	_, _ = io.Copy(io.Discard, l.host) // however it ends, nothing watches any more
	l.mu.Lock()
	for _, ln := range l.listeners {
		_ = ln.Close() // removes the socket
	}
	l.host.KillGroup()
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
		l.listeners = append(l.listeners, ln)
	}
	return ln, err
}

// forget is for a listener that is closed.
func (l *lifeline) forget(ln net.Listener) {
	if l != nil {
		l.mu.Lock()
		l.listeners = slices.DeleteFunc(l.listeners, func(x net.Listener) bool { return x == ln })
		l.mu.Unlock()
	}
}

// release waits for the end if the host is gone: the listener that run has
// closed must not make Serve return, and this process end, before its group
// does.
func (l *lifeline) release() {
	if l != nil {
		l.mu.Lock()
		l.listeners = nil
		l.mu.Unlock()
	}
}
