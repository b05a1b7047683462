package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/session"
)

// hostLink is what [Host] returns: the connection to the one host of a plugin, or
// to those that attach to one that is debugged.
type hostLink interface {
	grpc.ClientConnInterface
	// serve makes calls on the stream that a host has opened for them, until
	// the stream or the plugin ends. With an error it is still the caller's.
	serve(s *session.Stream) error
	// close ends the calls, those in flight and those to come.
	close()
}

func newHostLink(cfg *config, offer *negotiation.Offer) hostLink {
	if cfg.debug && offer.Plugwire {
		return newHostConns(cfg)
	}
	return newHostConn(cfg, offer)
}

// hostConns is the connection to the hosts of a plugin that is debugged, which come
// and go. Calls go to the one that came last of those that are there.
type hostConns struct {
	lateConn
	cfg *config

	ctx context.Context //nolint:containedctx // the connections' own life, not a caller's
	end context.CancelFunc

	mu      sync.Mutex    // guards what follows
	count   int           // of streams that are served
	peers   []*rpc.Peer   // in the order in which they came
	changed chan struct{} // closed when one has come
}

func newHostConns(cfg *config) *hostConns {
	h := &hostConns{cfg: cfg, changed: make(chan struct{})}
	h.lateConn = h.wait
	h.ctx, h.end = context.WithCancel(context.Background())
	return h
}

// maxHosts bounds the hosts that are attached at a time: each holds a descriptor and
// goroutines. A person debugs with a few.
const maxHosts = 64

var errManyHosts = fmt.Errorf("%d hosts are attached already", maxHosts)

// enter adds to the number of streams that are served, and reports whether it may.
func (h *hostConns) enter(more int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count+more > maxHosts {
		return false
	}
	h.count += more
	return true
}

func (h *hostConns) serve(s *session.Stream) error {
	if !h.enter(1) {
		return errManyHosts
	}
	defer h.enter(-1)
	peer, err := newHostPeer(h.cfg, s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(h.ctx, callbacksTimeout)
	defer cancel()
	if err := peer.Connect(ctx); err != nil {
		peer.Close()
		return err
	}
	h.mu.Lock()
	h.peers = append(h.peers, peer)
	close(h.changed)
	h.changed = make(chan struct{})
	h.mu.Unlock()
	select {
	case <-peer.Lost():
	case <-h.ctx.Done():
	}
	h.mu.Lock()
	h.peers = slices.DeleteFunc(h.peers, func(p *rpc.Peer) bool { return p == peer })
	h.mu.Unlock()
	peer.Fail(errHostLost)
	peer.Close()
	return nil
}

func (h *hostConns) close() { h.end() }

// wait returns what a call goes to. The stream of a host comes a moment after its
// first call can.
func (h *hostConns) wait(ctx context.Context) (grpc.ClientConnInterface, error) {
	timer := time.NewTimer(callbacksTimeout)
	defer timer.Stop()
	for {
		h.mu.Lock()
		peers, changed := h.peers, h.changed
		var last *rpc.Peer
		if len(peers) > 0 {
			last = peers[len(peers)-1]
		}
		h.mu.Unlock()
		if last != nil {
			return last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-h.ctx.Done():
			return nil, status.Error(codes.Unavailable, "this plugin is shutting down")
		case <-timer.C:
			return nil, status.Errorf(codes.Unavailable, "no host was attached within %v", callbacksTimeout)
		}
	}
}
