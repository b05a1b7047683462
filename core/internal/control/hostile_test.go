package control_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/control/controlpb"
)

// hostilePlugin is a connection to a plugin that lists what it likes.
type hostilePlugin struct {
	listed []string
	err    error // of unary calls
}

// Invoke implements [grpc.ClientConnInterface].
func (p hostilePlugin) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	if info, ok := reply.(*controlpb.InfoResponse); ok {
		info.Services = p.listed
	}
	return p.err
}

// NewStream implements [grpc.ClientConnInterface].
func (p hostilePlugin) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return hostileReflection{listed: p.listed}, nil
}

// hostileReflection is a stream of reflection, which answers once.
type hostileReflection struct {
	grpc.ClientStream
	listed []string
}

func (hostileReflection) SendMsg(any) error { return nil }

func (r hostileReflection) RecvMsg(m any) error {
	resp := m.(*reflectionpb.ServerReflectionResponse)
	if r.listed == nil {
		resp.MessageResponse = &reflectionpb.ServerReflectionResponse_ErrorResponse{ErrorResponse: &reflectionpb.ErrorResponse{ErrorMessage: strings.Repeat("\x1b[31m", 1000)}}
		return nil
	}
	list := new(reflectionpb.ListServiceResponse)
	for _, name := range r.listed {
		list.Service = append(list.Service, &reflectionpb.ServiceResponse{Name: name})
	}
	resp.MessageResponse = &reflectionpb.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: list}
	return nil
}

// What a plugin lists is checked in the same way, whichever framework the plugin is of.
func TestListServicesOfHostilePlugin(t *testing.T) {
	t.Parallel()
	many := make([]string, 10_001)
	for i := range many {
		many[i] = fmt.Sprint("test.S", i)
	}
	for _, tt := range []struct {
		name   string
		listed []string
		want   []string
		says   string // of the error
	}{
		{name: "good", listed: []string{"test.B", "test.A"}, want: []string{"test.B", "test.A"}},
		{name: "twice", listed: []string{"test.A", "test.A"}, want: []string{"test.A"}},
		{name: "the framework's", listed: []string{"plugwire.v1.Control", "grpc.health.v1.Health", "test.A"}, want: []string{"test.A"}},
		{name: "many", listed: many, says: "lists 10001 services"},
		{name: "long", listed: []string{strings.Repeat("a", 1<<20)}, says: "name is not valid"},
		{name: "empty", listed: []string{""}, says: "name is not valid"},
		{name: "control characters", listed: []string{"test.\x1b[2JA"}, says: `name is not valid: "test.\x1b[2JA"`},
		{name: "not UTF-8", listed: []string{"test.\xff"}, says: "name is not valid"},
	} {
		for _, foreign := range []bool{false, true} {
			got, err := control.ListServices(t.Context(), hostilePlugin{listed: tt.listed}, foreign)
			switch {
			case tt.says == "" && (err != nil || !slices.Equal(got, tt.want)):
				t.Errorf("%s, foreign %t: %q, %v", tt.name, foreign, got, err)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 1000):
				t.Errorf("%s, foreign %t: %d bytes of error: %.300v", tt.name, foreign, len(fmt.Sprint(err)), err)
			}
		}
	}
	_, err := control.ListServices(t.Context(), hostilePlugin{}, true)
	if err == nil || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 1000 {
		t.Errorf("an error of reflection: %.300v", err)
	}
}

// The text of a plugin that is not ready goes into the error of the start.
func TestReadyIsBounded(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 1 << 20} {
		err := control.Ready(t.Context(), hostilePlugin{err: status.Error(codes.FailedPrecondition, strings.Repeat("ä", n))})
		if status.Code(err) != codes.FailedPrecondition || len(err.Error()) > 5000 || len(err.Error()) < n && n == 10 {
			t.Errorf("%d letters: an error of %d bytes with %v", n, len(err.Error()), status.Code(err))
		}
	}
	if err := control.Ready(t.Context(), hostilePlugin{}); err != nil {
		t.Error(err)
	}
}
