// Package multiplex is go-plugin's multiplexed mode: one connection that carries all
// streams of host and plugin, by yamux (internal/grpcmux in go-plugin; docs/protocol.md,
// "The broker"). [HostEnd] is the host's end, [PluginEnd] the plugin's.
//
// Either side opens streams, and a stream does not say what it is for. The first that the
// host opens is for calls, as are those that nothing announces. Before a side opens any
// other stream, it announces the stream through the broker, and opens it next.
package multiplex

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

const (
	// announcedFor is how long a stream may take to come after its announcement. A side
	// that announces a stream opens it next, so a stream that comes later is another one.
	announcedFor = 10 * time.Second
	// maxAnnounced bounds the streams that were announced and have not come. A side of
	// go-plugin announces one at a time.
	maxAnnounced = 64
)

// announcements are the streams that the other side has announced, in order.
type announcements struct {
	mu    sync.Mutex // guards queue
	queue []announcement
}

type announcement struct {
	deliver func(*session.Stream)
	until   time.Time
}

// add registers deliver for the next stream that no earlier announcement is for. It reports
// false if too many streams are announced.
func (a *announcements) add(deliver func(*session.Stream)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire()
	if len(a.queue) == maxAnnounced {
		return false
	}
	a.queue = append(a.queue, announcement{deliver, time.Now().Add(announcedFor)})
	return true
}

// next returns what to do with the stream that has just come, nil if it was not announced.
func (a *announcements) next() (deliver func(*session.Stream)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire()
	if len(a.queue) > 0 {
		deliver = a.queue[0].deliver
		a.queue = a.queue[1:]
	}
	return deliver
}

func (a *announcements) expire() {
	for len(a.queue) > 0 && time.Now().After(a.queue[0].until) {
		a.queue = a.queue[1:]
	}
}

// authenticate authenticates both sides of a stream that this side has opened.
func authenticate(ctx context.Context, conn net.Conn, creds *secure.Credentials) (net.Conn, secure.Info, error) {
	stream, err := session.Introduce(ctx, conn, creds)
	if err != nil {
		return nil, secure.Info{}, err
	}
	return stream.Conn, stream.Info, nil
}
