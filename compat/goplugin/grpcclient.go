package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/host"
)

// GRPCClient is the [ClientProtocol] of a plugin that speaks gRPC.
type GRPCClient struct {
	// Conn is the connection for calls to the plugin, which the GRPCClient closes.
	Conn *grpc.ClientConn
	// Plugins are what Dispense knows.
	Plugins map[string]Plugin

	plugin  *host.Plugin // nil for a GRPCClient that another package has made
	broker  *GRPCBroker
	doneCtx context.Context //nolint:containedctx // the plugin's own life, not a caller's
	ended   <-chan struct{} // closed when the end of the plugin is known everywhere
}

var _ ClientProtocol = (*GRPCClient)(nil)

// Close ends the plugin.
func (c *GRPCClient) Close() error {
	if c.plugin == nil {
		if c.Conn == nil {
			return nil
		}
		return c.Conn.Close()
	}
	_ = c.broker.Close() // always nil
	ctx, cancel := context.WithTimeout(context.Background(), grace())
	defer cancel()
	err := c.plugin.Shutdown(ctx)
	select {
	case <-c.plugin.Done():
		<-c.ended
	default: // the system does not end it
	}
	return err
}

// grace returns how long a plugin has to end.
func grace() time.Duration {
	if keeps(keepGrace) {
		return keptGrace
	}
	return killGrace
}

// Dispense returns what the plugin's GRPCClient method returns.
func (c *GRPCClient) Dispense(name string) (any, error) {
	raw, ok := c.Plugins[name]
	if !ok {
		return nil, fmt.Errorf("unknown plugin type: %s", name)
	}
	p, ok := raw.(GRPCPlugin)
	if !ok {
		return nil, fmt.Errorf("plugin %q doesn't support gRPC", name)
	}
	ctx := c.doneCtx
	if ctx == nil {
		ctx = context.Background()
	}
	return p.GRPCClient(ctx, c.broker, c.Conn)
}

// pingTimeout bounds Ping, which has no context. A plugin that is stuck never answers.
const pingTimeout = 10 * time.Second

// Ping asks the plugin for its health.
func (c *GRPCClient) Ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	if c.plugin != nil {
		return c.plugin.Ping(ctx)
	}
	answer, err := healthpb.NewHealthClient(c.Conn).Check(ctx, &healthpb.HealthCheckRequest{Service: GRPCServiceName})
	if err == nil && answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		err = errors.New("the plugin is not serving")
	}
	return err
}
