package pw

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
)

// grpcPrefix is the length of what gRPC puts before a message, which the statistics count.
const grpcPrefix = 5

// watch shows a call of this side to the stats handlers. A nil watch has none.
type watch struct {
	c     *conn
	k     *call
	began time.Time
	once  sync.Once // reports the header
}

// newWatch lets the handlers tag the context of a call, and tells them that it begins.
func (c *conn) newWatch(k *call, desc *grpc.StreamDesc) *watch {
	w := &watch{c: c, k: k, began: time.Now()}
	for _, h := range c.stats {
		k.ctx = h.TagRPC(k.ctx, &stats.RPCTagInfo{FullMethodName: k.method, FailFast: !k.opts.waitForReady}) //nolint:fatcontext // one context for one call
	}
	w.tell(&stats.Begin{
		Client: true, BeginTime: w.began, FailFast: !k.opts.waitForReady,
		IsClientStream: desc.ClientStreams, IsServerStream: desc.ServerStreams,
	})
	return w
}

func (w *watch) tell(s stats.RPCStats) {
	for _, h := range w.c.stats {
		h.HandleRPC(w.k.ctx, s)
	}
}

func (w *watch) outHeader(k *call) {
	if w == nil {
		return
	}
	md, _ := metadata.FromOutgoingContext(k.ctx)
	w.tell(&stats.OutHeader{
		Client: true, FullMethod: k.method, Header: md, Authority: w.c.client.Other,
		RemoteAddr: w.c.stream.RemoteAddr(), LocalAddr: w.c.stream.LocalAddr(),
	})
}

func (w *watch) outPayload(m any, size int) {
	if w != nil {
		w.tell(&stats.OutPayload{Client: true, Payload: m, Length: size, CompressedLength: size, WireLength: size + grpcPrefix, SentTime: time.Now()})
	}
}

func (w *watch) inPayload(m any, size int) {
	if w != nil {
		w.header(w.k)
		w.tell(&stats.InPayload{Client: true, Payload: m, Length: size, CompressedLength: size, WireLength: size + grpcPrefix, RecvTime: time.Now()})
	}
}

// header reports the metadata that has come before the first message, if it has come.
func (w *watch) header(k *call) {
	if w == nil {
		return
	}
	k.c.mu.Lock()
	md := k.header()
	k.c.mu.Unlock()
	if md != nil {
		w.once.Do(func() { w.tell(&stats.InHeader{Client: true, Header: md}) })
	}
}

func (w *watch) end(err error, k *call) {
	w.header(k)
	k.c.mu.Lock()
	md, hasEnd := k.trailer(), k.hasEnd
	k.c.mu.Unlock()
	if hasEnd {
		w.tell(&stats.InTrailer{Client: true, Trailer: md})
	}
	w.tell(&stats.End{Client: true, BeginTime: w.began, EndTime: time.Now(), Trailer: md, Error: err})
}
