// Package control is the services that every plugin has beside the application's: health,
// reflection, and plugwire.v1.Control for information, readiness and shutdown. A plugin
// begins with [Register]. go-plugin's own services are in package goplugin.
package control

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/control/controlpb"
	"github.com/plugwire/plugwire/core/internal/control/reflection"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/protocol"
)

// HealthService is the service whose health go-plugin's hosts ask for (grpc_server.go
// there). The empty name, which stands for the process, always has the same health.
const HealthService = "plugin"

// IsControl reports whether a method belongs to a service of the framework or of go-plugin.
func IsControl(fullMethod string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	switch service {
	case controlpb.Control_ServiceDesc.ServiceName, healthpb.Health_ServiceDesc.ServiceName:
		return true
	default:
		return strings.HasPrefix(service, "grpc.reflection.") || strings.HasPrefix(service, messages.ServicePrefix)
	}
}

// CheckFamily returns an error if a protocol contains a service that the framework itself
// serves. grpc ends the process when a service is registered a second time.
func CheckFamily(family protocol.Family) error {
	for _, p := range family {
		for _, service := range p.Services() {
			if IsControl("/" + service.Name + "/") {
				return fmt.Errorf("protocol %s: service %s is served by the framework itself: leave it out", p, service.Name)
			}
		}
	}
	return nil
}

// Services are the built-in services of one plugin.
type Services struct {
	health *health.Server
	server
}

// Requests are what a host can ask of the plugin. The host may ask more than once.
type Requests struct {
	// Shutdown begins to stop the plugin. It must not block.
	Shutdown func(grace time.Duration)
	// Ready returns when the plugin is ready, or why it will not be.
	Ready func(ctx context.Context) error
	// Stacks returns where the handlers of a method are, as text. It is nil if the plugin
	// does not tell.
	Stacks func(method string) string
}

// Register adds the built-in services to r, after the application's. The plugin is
// serving from the start. The host can fetch info.
func Register(r calls.Registrar, info *controlpb.InfoResponse, started time.Time, requests Requests) *Services {
	s := &Services{health: health.NewServer(), server: server{info: info, started: started, requests: requests}}
	s.SetServing(true)
	controlpb.RegisterControlServer(r, &s.server)
	healthpb.RegisterHealthServer(r, s.health)
	reflection.Register(r, reflectedServices{r})
	return s
}

// reflectedServices hides go-plugin's services from reflection: their messages have no
// descriptors.
type reflectedServices struct{ calls.Registrar }

// GetServiceInfo implements [reflection.Services].
func (r reflectedServices) GetServiceInfo() map[string]grpc.ServiceInfo {
	services := r.Registrar.GetServiceInfo()
	maps.DeleteFunc(services, func(name string, _ grpc.ServiceInfo) bool { return strings.HasPrefix(name, messages.ServicePrefix) })
	return services
}

// SetServing sets the health of the plugin. After Stopping it has no effect.
func (s *Services) SetServing(serving bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
	s.health.SetServingStatus(HealthService, state)
}

// Stopping sets the health to NOT_SERVING. It stays so.
func (s *Services) Stopping() { s.health.Shutdown() }

type server struct {
	controlpb.UnsafeControlServer
	info     *controlpb.InfoResponse
	started  time.Time
	requests Requests
}

// Info implements plugwire.v1.Control.
func (s *server) Info(context.Context, *controlpb.InfoRequest) (*controlpb.InfoResponse, error) {
	return &controlpb.InfoResponse{
		Protocol:           s.info.Protocol,
		Version:            s.info.Version,
		Pid:                s.info.Pid,
		FrameworkVersion:   Version(), // read here, because it would delay each start
		Services:           s.info.Services,
		UptimeMilliseconds: time.Since(s.started).Milliseconds(),
	}, nil
}

// Ready implements plugwire.v1.Control.
func (s *server) Ready(ctx context.Context, _ *controlpb.ReadyRequest) (*controlpb.ReadyResponse, error) {
	if err := s.requests.Ready(ctx); err != nil {
		return nil, err
	}
	return &controlpb.ReadyResponse{}, nil
}

// Shutdown implements plugwire.v1.Control. It only begins the shutdown. The host waits for
// the end of the process.
func (s *server) Shutdown(_ context.Context, req *controlpb.ShutdownRequest) (*controlpb.ShutdownResponse, error) {
	s.requests.Shutdown(time.Duration(min(max(req.GetGraceMilliseconds(), 0), maxGrace.Milliseconds())) * time.Millisecond)
	return &controlpb.ShutdownResponse{}, nil
}

// Stacks implements plugwire.v1.Control.
func (s *server) Stacks(_ context.Context, req *controlpb.StacksRequest) (*controlpb.StacksResponse, error) {
	if s.requests.Stacks == nil {
		return nil, status.Error(codes.Unimplemented, "this plugin does not tell its stacks")
	}
	return &controlpb.StacksResponse{Stacks: s.requests.Stacks(req.GetMethod())}, nil
}

// maxStacks bounds the stacks that a host takes from a plugin, in bytes. A plugin sends at
// most 20 KiB.
const maxStacks = 64 << 10

// Stacks asks where the handlers of a method are. The text is the plugin's, and so not
// trusted: control characters in it are quoted.
func Stacks(ctx context.Context, cc grpc.ClientConnInterface, method string) (string, error) {
	r, err := controlpb.NewControlClient(cc).Stacks(ctx, &controlpb.StacksRequest{Method: method}, grpc.MaxCallRecvMsgSize(maxStacks))
	return logs.Indented(r.GetStacks()), err
}

// maxReason bounds the text, in bytes, with which a plugin says why it is not ready. A person
// reads it in the error of the start. A text of the handshake has the same bound.
const maxReason = 4 << 10

// Ready waits until the plugin is ready. The context bounds the call.
func Ready(ctx context.Context, cc grpc.ClientConnInterface) error {
	_, err := controlpb.NewControlClient(cc).Ready(ctx, &controlpb.ReadyRequest{})
	if s := status.Convert(err); len(s.Message()) > maxReason {
		return status.Error(s.Code(), strings.ToValidUTF8(s.Message()[:maxReason], "")+"...")
	}
	return err
}

// maxGrace bounds the grace that a host can ask for. A longer one is a mistake, and could
// overflow a duration.
const maxGrace = 24 * time.Hour

// Shutdown asks a Plugwire plugin to drain within grace and to exit. The context bounds the
// call.
func Shutdown(ctx context.Context, cc grpc.ClientConnInterface, grace time.Duration) error {
	_, err := controlpb.NewControlClient(cc).Shutdown(ctx, &controlpb.ShutdownRequest{GraceMilliseconds: grace.Milliseconds()})
	return err
}
