//go:build unix

package weather_test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/plugwire/plugwire/examples/weather"
)

// TestToolWithoutHandshake does what docs/tools.md says that a tool for gRPC can do
// with a plugin which a person has started.
func TestToolWithoutHandshake(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient("unix://"+startByHand(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	request := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	listed, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range listed.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "plugwire.v1.Control", "weather.Station"}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("reflection lists %q, want %q", names, want)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}

	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "plugin"})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
	if _, err := weather.NewStationClient(conn).AddReading(t.Context(), &weather.AddReadingRequest{Reading: reading("a", 1)}); err != nil {
		t.Error(err)
	}
}

// startByHand starts this test binary as a person starts a plugin, and returns the
// path of its socket.
func startByHand(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(self(t))
	cmd.Env = append(pluginEnviron(), "PLUGWIRE_DEBUG=go-plugin")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it did not stop in good order: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var attach struct{ Addr struct{ String string } }
	if err := json.Unmarshal(line, &attach); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return attach.Addr.String
}
