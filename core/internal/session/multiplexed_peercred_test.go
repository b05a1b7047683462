package session

import (
	"os"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// TestMultiplexedPeerCredentials has the kernel vouch for the plugin: for the
// connection, and with it for every stream, of whichever side.
func TestMultiplexedPeerCredentials(t *testing.T) {
	if !secure.PeerCredSupported {
		t.Skip("this system does not tell who is at the other end of a unix socket")
	}
	s, l := connect(t, handshake.SessionYamux, func(host *Config, plugin *ListenerConfig) {
		host.Foreign, plugin.Foreign = true, true
		host.Credentials = secure.PeerCred(os.Getuid())
	})
	ours, err := s.Open(bounded(t), Preamble{Purpose: Calls})
	if err != nil {
		t.Fatal(err)
	}
	if ours.Info.Security != handshake.SecurityPeerCred || ours.Info.UID != os.Getuid() {
		t.Errorf("the stream for calls is authenticated by %+v", ours.Info)
	}
	theirs := receive(t, "the stream for calls", start(l.Accept))
	if theirs.err != nil {
		t.Fatal(theirs.err)
	}
	checkPassing(t, ours, theirs.value)
	checkAnnounced(t, s, l, -1)
	checkAnnounced(t, l, s, os.Getuid())
}

// TestMultiplexedPeerOfAnotherUser refuses a plugin that runs as somebody else.
func TestMultiplexedPeerOfAnotherUser(t *testing.T) {
	if !secure.PeerCredSupported || os.Getuid() == 0 {
		t.Skip("this system does not tell who is at the other end of a unix socket, or it is root, who may be anybody")
	}
	host, ln, _ := socketConfigs(t, handshake.SessionYamux)
	defer checkClose(t, ln)
	host.Foreign, host.Credentials = true, secure.PeerCred(os.Getuid()+1)
	if s, err := Dial(bounded(t), host); err == nil {
		t.Error("it was accepted")
		checkClose(t, s)
	}
}

// announcer is either side of a session in go-plugin's multiplexed mode.
type announcer interface {
	opener
	Expect(deliver func(*Stream)) bool
}

// checkAnnounced opens a stream that the other side expects, which sees uid at its
// other end.
func checkAnnounced(t *testing.T, from, to announcer, uid int) {
	t.Helper()
	delivered := make(chan *Stream, 1)
	if !to.Expect(func(s *Stream) { delivered <- s }) {
		t.Fatal("no stream may be expected")
	}
	conn, err := open(t, from)
	if err != nil {
		t.Fatal(err)
	}
	stream := receive(t, "the stream that was announced", delivered)
	if stream.Info.UID != uid {
		t.Errorf("its opener is user %d, want %d", stream.Info.UID, uid)
	}
	checkPassing(t, conn, stream.Conn)
	checkClose(t, conn, stream.Conn)
}
