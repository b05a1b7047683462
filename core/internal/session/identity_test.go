package session

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/plugwire/plugwire/core/internal/streamtest"
)

// TestSessionsMeetByIdentity opens streams of one name by two hosts. Each stream of the plugin
// meets the stream of the session that it asks for.
func TestSessionsMeetByIdentity(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			hostConfig, ln, pluginConfig := socketConfigs(t, kind)
			l := NewListener(ln, pluginConfig)
			t.Cleanup(l.End)
			var hosts sync.WaitGroup
			defer hosts.Wait()
			ctx := streamtest.Bounded(t)
			for _, identity := range []string{"one", "two"} {
				cfg := hostConfig
				cfg.Identity = identity
				s, err := Dial(streamtest.Bounded(t), cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { streamtest.CheckClose(t, s) })
				calls, err := s.Open(streamtest.Bounded(t), Preamble{Purpose: Calls})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { streamtest.CheckClose(t, calls) })
				accepted, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { streamtest.CheckClose(t, accepted) })
				if got := accepted.(*Stream).Session; got != identity || calls.Session != identity {
					t.Errorf("the session is %q, want %q", got, identity)
				}
				hosts.Go(func() {
					conn, err := s.Named(ctx, Offered, "n")
					if err != nil {
						t.Errorf("%s: %v", identity, err)
						return
					}
					defer conn.Close()
					if _, err := conn.Write([]byte(identity)); err != nil {
						t.Errorf("%s: %v", identity, err)
					}
				})
			}
			for _, identity := range []string{"two", "one"} {
				conn, err := l.AcceptNamed(streamtest.Bounded(t), identity, "n")
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 3)
				if _, err := conn.Read(got); err != nil || string(got) != identity {
					t.Errorf("%q, %v; want the stream of %q", got, err, identity)
				}
				streamtest.CheckClose(t, conn)
			}
		})
	}
}

func TestIdentityTooLongToWrite(t *testing.T) {
	var w bytes.Buffer
	_, err := Preamble{Purpose: Calls, Session: strings.Repeat("a", maxIdentity+1)}.WriteTo(&w)
	if err == nil || !strings.Contains(err.Error(), "identity of 65 bytes, at most 64 are allowed") || w.Len() > 0 {
		t.Errorf("%v, %d bytes written", err, w.Len())
	}
}
