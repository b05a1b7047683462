package control

import (
	"context"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/rpc"
)

// ForeignGrace is how long a stop takes at most that a go-plugin host asks for,
// which does not say how long it may. It waits for the answer without a limit, and
// then two seconds for the process to end (client.go there): long enough for calls
// to end that are about to, and not so long that a call nobody ends keeps a person
// waiting.
const ForeignGrace = 4 * time.Second

// ForeignExit is how long the plugin may serve on once such a host has its answer, for
// calls of others: half of what leaves the two seconds a margin on a busy machine, as
// handlers that do not heed their context may then take as long again.
const ForeignExit = 500 * time.Millisecond

// RegisterForeign adds the services that a go-plugin host expects beside those of
// [Register]. shutdown is called as there; the host has its answer when stopped is
// closed, and so keeps the connection for that long. output is what the plugin
// prints.
func RegisterForeign(r rpc.Registrar, shutdown func(grace time.Duration), stopped <-chan struct{}, output *Output) {
	messages.RegisterController(r, &controller{shutdown: shutdown, stopped: stopped})
	messages.RegisterStdio(r, output)
}

type controller struct {
	shutdown func(grace time.Duration)
	stopped  <-chan struct{}
}

// Shutdown implements [messages.Controller].
func (c *controller) Shutdown(ctx context.Context) error {
	c.shutdown(ForeignGrace)
	select {
	case <-c.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
