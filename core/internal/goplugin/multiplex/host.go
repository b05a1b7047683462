package multiplex

import (
	"context"
	"errors"
	"net"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

var errUnannounced = errors.New("the plugin has not announced the stream")

// HostEnd is a host's end. Its methods are safe for concurrent use. Close it.
type HostEnd struct {
	mux       *mux.Session
	creds     *secure.Credentials // authenticate a stream
	announced announcements
}

// NewHostEnd begins on a connection to the plugin, which it owns. The context bounds only
// that. creds authenticate each stream. If the kernel vouches for the plugin, they
// authenticate the connection instead, once.
func NewHostEnd(ctx context.Context, conn net.Conn, creds *secure.Credentials) (*HostEnd, error) {
	if creds.Security() == handshake.SecurityPeerCred {
		_, info, err := authenticate(ctx, conn, creds)
		if err != nil {
			return nil, err
		}
		creds = secure.Known(info)
	}
	m, err := mux.Client(conn, new(peerPolicy).judge)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	h := &HostEnd{mux: m, creds: creds}
	m.Go(h.accept)
	return h, nil
}

// Session returns a session whose streams are for calls. It owns the HostEnd.
func (h *HostEnd) Session() *session.Session { return session.New(h.mux.Open, h.creds, h.mux.Close) }

// Expect registers deliver for the next stream that the plugin opens. The stream is
// authenticated first; deliver then owns it. Expect reports false if too many streams are
// expected already.
func (h *HostEnd) Expect(deliver func(*session.Stream)) bool { return h.announced.add(deliver) }

// OpenStream opens a stream that the plugin expects. After that the plugin expects the next
// stream, whatever becomes of this one.
func (h *HostEnd) OpenStream(ctx context.Context) (net.Conn, error) { return h.mux.Open(ctx) }

// Authenticate authenticates both sides of a stream of OpenStream. It owns the stream.
func (h *HostEnd) Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error) {
	return authenticate(ctx, stream, h.creds)
}

// accept admits the streams that the plugin opens, until the connection ends. It refuses
// streams that were not announced: the only one that go-plugin opens came too late.
func (h *HostEnd) accept() {
	slots := make(chan struct{}, session.MaxPending)
	for {
		conn, err := h.mux.Accept()
		if err != nil {
			return // the connection has ended
		}
		deliver := h.announced.next()
		slots <- struct{}{} // blocks until a stream is admitted, or refused and closed by the plugin
		started := h.mux.Go(func() {
			stream, err := h.admit(conn, deliver)
			<-slots
			if err == nil {
				deliver(stream)
			}
		})
		if !started {
			return // the connection ends
		}
	}
}

// admit authenticates a stream of the plugin's, unless deliver is nil. With an error the
// stream is refused, which the plugin notices.
func (h *HostEnd) admit(conn net.Conn, deliver func(*session.Stream)) (stream *session.Stream, err error) {
	if err = errUnannounced; deliver != nil {
		stream, err = session.Admit(conn, h.creds)
	}
	if err != nil {
		mux.Refuse(conn)
	}
	return stream, err
}
