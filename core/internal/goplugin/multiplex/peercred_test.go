package multiplex

import (
	"os"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/internal/streamtest"
)

// TestMultiplexedPeerCredentials authenticates the plugin by the kernel: the connection, and
// with it every stream of either side.
func TestMultiplexedPeerCredentials(t *testing.T) {
	if !secure.PeerCredSupported {
		t.Skip("peer credentials are not available")
	}
	h, p := connect(t, secure.PeerCred(os.Getuid()), secure.Plaintext())
	ours, err := h.Session().Open(streamtest.Bounded(t), session.Preamble{Purpose: session.Calls})
	if err != nil {
		t.Fatal(err)
	}
	if ours.Info.Security != handshake.SecurityPeerCred || ours.Info.UID != os.Getuid() {
		t.Errorf("the stream for calls is authenticated by %+v", ours.Info)
	}
	theirs := streamtest.Receive(t, "the stream for calls", streamtest.Go(p.Accept))
	if theirs.Err != nil {
		t.Fatal(theirs.Err)
	}
	streamtest.CheckPassing(t, ours, theirs.Value)
	checkAnnounced(t, h, p, -1)
	checkAnnounced(t, p, h, os.Getuid())
}

// TestMultiplexedPeerOfAnotherUser refuses a plugin of another user.
func TestMultiplexedPeerOfAnotherUser(t *testing.T) {
	if !secure.PeerCredSupported || os.Getuid() == 0 {
		t.Skip("peer credentials are not available, or this user is root, whose plugin may run as any user")
	}
	p := listen(t, secure.Plaintext())
	if h, err := NewHostEnd(streamtest.Bounded(t), dial(t, p), secure.PeerCred(os.Getuid()+1)); err == nil {
		t.Error("the plugin was accepted")
		streamtest.CheckClose(t, h.mux)
	}
}

// announcer is either end.
type announcer interface {
	opener
	Expect(deliver func(*session.Stream)) bool
}

// checkAnnounced opens a stream that the other side expects. That side sees uid as its opener.
func checkAnnounced(t *testing.T, from, to announcer, uid int) {
	t.Helper()
	delivered := make(chan *session.Stream, 1)
	if !to.Expect(func(s *session.Stream) { delivered <- s }) {
		t.Fatal("no stream may be expected")
	}
	conn, err := open(t, from)
	if err != nil {
		t.Fatal(err)
	}
	stream := streamtest.Receive(t, "the stream that was announced", delivered)
	if stream.Info.UID != uid {
		t.Errorf("its opener is user %d, want %d", stream.Info.UID, uid)
	}
	streamtest.CheckPassing(t, conn, stream.Conn)
	streamtest.CheckClose(t, conn, stream.Conn)
}
