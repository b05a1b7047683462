package plugin

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestHostOutsideOfAHandler(t *testing.T) {
	_, err := healthpb.NewHealthClient(Host(t.Context())).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "plugin.Host") {
		t.Errorf("Host: %v", err)
	}
	if _, err := OpenStream(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), `open stream "x"`) {
		t.Errorf("OpenStream: %v", err)
	}
	if _, err := AcceptStream(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), `accept stream "x"`) {
		t.Errorf("AcceptStream: %v", err)
	}
}
