package session

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// TestMultiplexed opens streams from both sides of go-plugin's multiplexed mode:
// the one for calls, and those that were announced. Where the kernel vouches for
// the plugin it does so for the connection, and with it for every stream.
func TestMultiplexed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		creds *secure.Credentials
		skip  bool
		uid   int
	}{
		{name: "plaintext", creds: secure.Plaintext(), uid: -1},
		{name: "peer credentials", creds: secure.PeerCred(os.Getuid()), skip: !secure.PeerCredSupported, uid: os.Getuid()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.skip {
				t.Skip("this system does not tell who is at the other end of a unix socket")
			}
			s, l := connect(t, handshake.SessionYamux, func(host *Config, plugin *ListenerConfig) {
				host.Foreign, plugin.Foreign = true, true
				host.Credentials = tt.creds
			})
			if !s.Multiplexed() || !l.Multiplexed() {
				t.Fatal("the session is not multiplexed")
			}
			ours, info, err := s.Open(bounded(t), Preamble{Purpose: Calls})
			if err != nil {
				t.Fatal(err)
			}
			if info.UID != tt.uid {
				t.Errorf("the plugin's user is %d, want %d", info.UID, tt.uid)
			}
			// Nothing is written on a stream before its opener does.
			accepted := start(l.Accept)
			theirs := receive(t, "the stream for calls", accepted)
			if theirs.err != nil {
				t.Fatal(theirs.err)
			}
			checkPassing(t, ours, theirs.value)

			checkAnnounced(t, s, l, -1)
			checkAnnounced(t, l, s, tt.uid)
		})
	}
}

// announcer is either side of a session in go-plugin's multiplexed mode.
type announcer interface {
	OpenStream(ctx context.Context) (net.Conn, secure.Info, error)
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
	conn, _, err := from.OpenStream(bounded(t))
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
