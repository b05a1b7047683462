package control_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/control/controlpb"
)

// inProcess registers services and calls their unary methods, without a wire.
type inProcess struct {
	methods  map[string]grpc.MethodHandler
	handlers map[string]any
	info     map[string]grpc.ServiceInfo
}

func (p *inProcess) RegisterService(desc *grpc.ServiceDesc, handler any) {
	for _, m := range desc.Methods {
		full := "/" + desc.ServiceName + "/" + m.MethodName
		p.methods[full], p.handlers[full] = m.Handler, handler
	}
	p.info[desc.ServiceName] = grpc.ServiceInfo{}
}

func (p *inProcess) GetServiceInfo() map[string]grpc.ServiceInfo { return p.info }

// register registers the built-in services.
func register(info *controlpb.InfoResponse, started time.Time, shutdown func(time.Duration)) (*inProcess, *control.Services) {
	p := &inProcess{methods: map[string]grpc.MethodHandler{}, handlers: map[string]any{}, info: map[string]grpc.ServiceInfo{}}
	return p, control.Register(p, info, started, control.Requests{Shutdown: shutdown})
}

// invoke calls a registered method whose request is decoded by decode.
func invoke(t *testing.T, p *inProcess, method string, decode func(any) error) any {
	t.Helper()
	handler, ok := p.methods[method]
	if !ok {
		t.Fatalf("%s is not registered", method)
	}
	resp, err := handler(p.handlers[method], t.Context(), decode, nil)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return resp
}

func TestIsControl(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{
		"/plugwire.v1.Control/Shutdown":                                  true,
		"/grpc.health.v1.Health/Watch":                                   true,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      true,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": true,
		"/plugin.GRPCController/Shutdown":                                true,
		"/example.DataProcessor/ProcessData":                             false,
		"/plugwire.v1.Controller/Shutdown":                               false,
		"/plugin.Service/Call":                                           false,
		"":                                                               false,
	} {
		if got := control.IsControl(method); got != want {
			t.Errorf("IsControl(%q) = %t, want %t", method, got, want)
		}
	}
}

// TestRegister checks that every registered service counts as the framework's own.
func TestRegister(t *testing.T) {
	t.Parallel()
	p, _ := register(&controlpb.InfoResponse{}, time.Now(), nil)
	for service := range p.info {
		if !control.IsControl("/" + service + "/Any") {
			t.Errorf("%s counts as the application's", service)
		}
	}
	for _, service := range []string{"plugwire.v1.Control", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if _, ok := p.info[service]; !ok {
			t.Errorf("%s is not registered", service)
		}
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	p, _ := register(&controlpb.InfoResponse{Protocol: "p", Version: 2, Pid: 3, Services: []string{"s"}}, time.Now().Add(-time.Hour), nil)
	info := invoke(t, p, "/plugwire.v1.Control/Info", func(any) error { return nil }).(*controlpb.InfoResponse)
	if info.GetProtocol() != "p" || info.GetVersion() != 2 || info.GetPid() != 3 || info.GetFrameworkVersion() != control.Version() || !slices.Equal(info.GetServices(), []string{"s"}) {
		t.Errorf("%v", info)
	}
	if up := time.Duration(info.GetUptimeMilliseconds()) * time.Millisecond; up < time.Hour || up > time.Hour+time.Minute {
		t.Errorf("uptime %v, want an hour", up)
	}
}

// TestShutdownGrace sends graces that a host should not ask for.
func TestShutdownGrace(t *testing.T) {
	t.Parallel()
	for milliseconds, want := range map[int64]time.Duration{
		0: 0, 1500: 1500 * time.Millisecond, -1: 0, math.MinInt64: 0, math.MaxInt64: 24 * time.Hour,
	} {
		var got []time.Duration
		p, _ := register(&controlpb.InfoResponse{}, time.Now(), func(grace time.Duration) { got = append(got, grace) })
		invoke(t, p, "/plugwire.v1.Control/Shutdown", func(req any) error {
			req.(*controlpb.ShutdownRequest).GraceMilliseconds = milliseconds
			return nil
		})
		if !slices.Equal(got, []time.Duration{want}) {
			t.Errorf("grace of %d ms: %v, want %v", milliseconds, got, want)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p, services := register(&controlpb.InfoResponse{}, time.Now(), nil)
	check := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, service := range []string{"", control.HealthService} {
			resp := invoke(t, p, "/grpc.health.v1.Health/Check", func(req any) error {
				req.(*healthpb.HealthCheckRequest).Service = service
				return nil
			})
			if got := resp.(*healthpb.HealthCheckResponse).GetStatus(); got != want {
				t.Errorf("health of %q is %v, want %v", service, got, want)
			}
		}
	}
	check(healthpb.HealthCheckResponse_SERVING)
	services.SetServing(false)
	check(healthpb.HealthCheckResponse_NOT_SERVING)
	services.SetServing(true)
	check(healthpb.HealthCheckResponse_SERVING)
	services.Stopping()
	services.SetServing(true) // has no effect any more
	check(healthpb.HealthCheckResponse_NOT_SERVING)
}

// recordingConn records a unary call, and fails it.
type recordingConn struct {
	grpc.ClientConnInterface
	method  string
	request any
	err     error
}

func (c *recordingConn) Invoke(_ context.Context, method string, args, _ any, _ ...grpc.CallOption) error {
	c.method, c.request = method, args
	return c.err
}

// TestShutdown asks a plugin to stop.
func TestShutdown(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	conn := &recordingConn{err: gone}
	if err := control.Shutdown(t.Context(), conn, 1500*time.Millisecond); !errors.Is(err, gone) {
		t.Error(err)
	}
	if req, ok := conn.request.(*controlpb.ShutdownRequest); conn.method != "/plugwire.v1.Control/Shutdown" || !ok || req.GetGraceMilliseconds() != 1500 {
		t.Errorf("%s %v", conn.method, conn.request)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if control.Version() == "" {
		t.Error("no version")
	}
}
