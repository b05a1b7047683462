package console

import (
	"context"
	"maps"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
)

// WatchHealth calls report when the health of a plugin changes, until the plugin has
// ended. A nil error means that the plugin serves.
func WatchHealth(p *host.Plugin, interval time.Duration, report func(error)) {
	healthy := true
	for {
		select {
		case <-p.Done():
			return
		case <-time.After(interval):
		}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		err := p.Ping(ctx)
		cancel()
		if (err == nil) != healthy {
			healthy = err == nil
			report(err)
		}
	}
}

// Calls counts the calls of a host by plugin, method and code. It may be given to many
// plugins. The zero value is ready.
type Calls struct {
	mu     sync.Mutex // guards counts
	counts map[Call]int
}

// Call is a kind of call.
type Call struct {
	Plugin, Method string
	Code           codes.Code
}

// Option makes a host count.
func (c *Calls) Option() host.Option {
	return host.WithInterceptors(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := next(ctx, method, request, response, conn, opts...)
		plugin := path.Base(conn.CanonicalTarget())
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.counts == nil {
			c.counts = make(map[Call]int)
		}
		c.counts[Call{plugin, method, status.Code(err)}]++
		return err
	}, nil)
}

// Counts returns how often there was which call.
func (c *Calls) Counts() map[Call]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}
