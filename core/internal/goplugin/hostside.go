package goplugin

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/goplugin/broker"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/goplugin/stdio"
)

// HostSide is what a host has for one plugin. Close it.
type HostSide struct {
	conn    grpc.ClientConnInterface
	broker  *broker.Broker
	link    sync.Once      // starts the broker's link
	fetcher *stdio.Fetcher // nil for a plugin that is not on go-plugin
}

// NewHostSide returns a host's side. The broker opens its link to the plugin at the first
// call of [HostSide.Broker]. conn makes calls that no interceptor sees.
func NewHostSide(conn grpc.ClientConnInterface, b *broker.Broker) *HostSide {
	return &HostSide{conn: conn, broker: b}
}

// Output says what a host does with what its plugin prints.
type Output struct {
	// Logger gets each line.
	Logger *slog.Logger
	// Stdout and Stderr, if not nil, get the bytes as they come.
	Stdout, Stderr io.Writer
	// Exited is closed when the plugin's process has ended.
	Exited <-chan struct{}
}

// Attend does what a plugin on go-plugin blocks without: it opens the broker's link, and
// fetches what the plugin prints. Call it at most once, and before all other methods.
func (h *HostSide) Attend(output Output) {
	h.startLink()
	h.fetcher = stdio.Fetch(h.conn, stdio.FetchConfig(output))
}

// Broker returns the broker.
func (h *HostSide) Broker() *broker.Broker {
	h.startLink()
	return h.broker
}

func (h *HostSide) startLink() { h.link.Do(func() { h.broker.Start(h.conn) }) }

// Shutdown asks a plugin on go-plugin to stop, but not before the host has asked for what the
// plugin prints.
func (h *HostSide) Shutdown(ctx context.Context) error {
	if h.fetcher != nil {
		select {
		case <-h.fetcher.Opened():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return messages.Shutdown(ctx, h.conn)
}

// Drain waits until what the plugin sent before its end is logged. After patience it logs
// no more of it, and waits for hurry at most.
func (h *HostSide) Drain(patience, hurry time.Duration) {
	if h.fetcher != nil {
		h.fetcher.Drain(patience, hurry)
	}
}

// Close ends the broker: its connections fail with reason.
func (h *HostSide) Close(reason error) { h.broker.Close(reason) }
