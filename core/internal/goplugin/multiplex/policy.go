package multiplex

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/internal/mux"
)

const (
	// pingInterval is go-plugin's, which is yamux's default. maxPings is how many pings
	// may come in that time: more than a peer on go-plugin ever sends.
	pingInterval = 30 * time.Second
	maxPings     = 60

	// maxStrange is how many streams a host may open before it has authenticated on one,
	// which go-plugin's hosts do on the first: yamux buffers what comes on each.
	maxStrange = 8
)

var (
	errPingedOften = errors.New("the other side sent more pings than it has reason to")
	errOpenedEarly = errors.New("the other side opened more streams than it has reason to before it authenticated")
)

// peerPolicy judges the frames of a peer on go-plugin, which pings and opens streams.
type peerPolicy struct {
	known       *atomic.Bool // set when the peer has authenticated; nil if no peer has to
	opened      int          // streams opened before known was set
	pings       int          // received since windowStart
	windowStart time.Time
}

// judge is a [mux.Policy].
func (p *peerPolicy) judge(f mux.Frame) error {
	switch {
	case f.IsPing():
		return p.ping()
	case f.OpensStream() && p.known != nil && !p.known.Load():
		if p.opened++; p.opened > maxStrange {
			return errOpenedEarly
		}
	}
	return nil
}

func (p *peerPolicy) ping() error {
	if now := time.Now(); now.Sub(p.windowStart) > pingInterval {
		p.pings, p.windowStart = 0, now
	}
	if p.pings++; p.pings > maxPings {
		return errPingedOften
	}
	return nil
}
