package plugin

import (
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/self"
)

// lifeline watches the host until this process ends, also after Serve has returned: a
// host that was killed must leave nothing behind. When the host has ended, the lifeline
// closes the listeners and ends this process. A nil lifeline watches nothing.
type lifeline struct {
	host hostWatcher

	mu        sync.Mutex     // guards the fields below; held while a listener is opened
	listeners []net.Listener // to be closed, which removes their sockets
	gone      bool           // the host has ended, and this process is about to
}

// hostWatcher notices the end of the host: a Read then ends.
type hostWatcher interface {
	io.Reader
	// KillGroup ends this process and its group. It does not return.
	KillGroup()
}

// openLifeline opens what a Plugwire host has passed on to watch it by, or the next best
// thing. It returns nil if the host has passed on nothing.
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

// watch returns the lifeline of a host.
func watch(host hostWatcher) *lifeline {
	l := &lifeline{host: host}
	go l.run()
	return l
}

// run ends the process group after the host. It waits for nothing: no host is left that
// calls could be drained for, and a handler may be stuck.
func (l *lifeline) run() {
	_, _ = io.Copy(io.Discard, l.host) // however Read fails, nothing watches the host any more
	l.mu.Lock()
	l.gone = true
	for _, ln := range l.listeners {
		_ = ln.Close() // removes the socket
	}
	l.mu.Unlock()
	l.host.KillGroup()
}

// awaitKill blocks until run has ended this process.
func awaitKill() { select {} }

// listen opens a listener that is closed when the host is gone. It leaves no socket
// behind, also if the host ends meanwhile.
func (l *lifeline) listen(open func() (net.Listener, error)) (net.Listener, error) {
	if l == nil {
		return open()
	}
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		awaitKill()
	}
	defer l.mu.Unlock()
	ln, err := open()
	if err == nil {
		l.listeners = append(l.listeners, ln)
	}
	return ln, err
}

// forget removes a listener that its owner closes.
func (l *lifeline) forget(ln net.Listener) {
	if l != nil {
		l.mu.Lock()
		l.listeners = slices.DeleteFunc(l.listeners, func(x net.Listener) bool { return x == ln })
		l.mu.Unlock()
	}
}

// release forgets all listeners, when Serve returns. If the host is gone, release does not
// return: Serve would, because run has closed its listener, and the process could then end
// before its group does.
func (l *lifeline) release() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.listeners = nil
	gone := l.gone
	l.mu.Unlock()
	if gone {
		awaitKill()
	}
}
