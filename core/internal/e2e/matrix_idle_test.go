//go:build linux

package e2e_test

import (
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// idleTime is longer than any keepalive: that of quic is 25 s, that of TCP
// connections in Go 15 s, and the others have none. Package quic has a test of
// its own with short keepalives.
const idleTime = 30 * time.Second

// TestSoakIdle leaves plugins idle, with an open stream without messages.
func TestSoakIdle(t *testing.T) {
	if os.Getenv("PLUGWIRE_SOAK") != "full" {
		t.Skipf("skipped, as it takes %v: PLUGWIRE_SOAK=full has it", idleTime)
	}
	t.Parallel()
	type idler struct {
		*matrixPlugin
		chat grpc.BidiStreamingClient[echopb.Payload, echopb.Payload]
	}
	say := func(name string, i idler) {
		t.Helper()
		if err := i.chat.Send(&echopb.Payload{Data: []byte(name)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := i.chat.Recv(); err != nil || string(got.GetData()) != name {
			t.Errorf("%s: got %q, %v", name, got.GetData(), err)
		}
	}
	idlers := map[string]idler{}
	for _, name := range ways.Names() {
		p := launchMatrix(t, name)
		chat, err := p.Chat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		idlers[name] = idler{p, chat}
		say(name, idlers[name])
	}
	<-time.After(idleTime)
	for name, i := range idlers {
		say(name, i)
		if _, err := i.Unary(testContext(t), &echopb.Payload{}); err != nil {
			t.Errorf("%s: a new call: %v", name, err)
		}
		if err := i.chat.CloseSend(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
