// Command terraform is a Terraform provider on terraform-plugin-go's server. That server
// registers itself only on a *grpc.Server, so protocol.FromServer serves it. Terraform
// starts this program like any provider, and so does a Plugwire host.
package main

import (
	"context"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

// The cookie by which a provider recognizes Terraform (tf6server.Serve).
const (
	cookieName  = "TF_PLUGIN_MAGIC_COOKIE"
	cookieValue = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2"
)

const (
	protocolName    = "tfplugin6"
	protocolVersion = 6
	providerAddress = "plugwire/weather"
)

func main() {
	sdk := &tf6server.GRPCProviderPlugin{
		Name:         providerAddress,
		GRPCProvider: func() tfprotov6.ProviderServer { return &provider{} },
	}
	plugin.Main(protocol.FromServer(protocolName, protocolVersion, func(s *grpc.Server) error {
		return sdk.GRPCServer(nil, s)
	}),
		plugin.WithTransports(unix.New()),
		plugin.WithCookie(cookieName, cookieValue),
		plugin.WithInterceptors(logCall, nil))
}

// logCall is an interceptor.
func logCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	plugin.Logger(ctx).InfoContext(ctx, "intercepted", "method", info.FullMethod)
	return next(ctx, req)
}

// provider is a provider with one data source. Terraform asks a provider for more than
// the methods here, but not before it configures one.
type provider struct {
	tfprotov6.ProviderServer
}

// GetMetadata implements [tfprotov6.ProviderServer].
func (*provider) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	return &tfprotov6.GetMetadataResponse{DataSources: []tfprotov6.DataSourceMetadata{{TypeName: "weather_station"}}}, nil
}

// GetProviderSchema implements [tfprotov6.ProviderServer].
func (*provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	panic("the schema is lost") //nolint:forbidigo // what the tests are about
}

// StopProvider implements [tfprotov6.ProviderServer]. It returns when the plugin stops.
func (*provider) StopProvider(ctx context.Context, _ *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	plugin.Logger(ctx).InfoContext(ctx, "waiting for the stop")
	select {
	case <-plugin.Stopping(ctx):
		return &tfprotov6.StopProviderResponse{Error: "the plugin stops"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
