package plugin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
)

// foreignHost is the environment of a plugin that a host on go-plugin starts.
var foreignHost = environment(map[string]string{"PLUGIN_PROTOCOL_VERSIONS": "2"})

// A host on go-plugin does not say when it is ready, so the functions run before the
// answer.
func TestOnReadyUnderForeignHost(t *testing.T) {
	t.Parallel()
	var ran []string
	line, err := serve(t, binding(), plugin.WithTransports(loop{name: "tcp"}), foreignHost,
		plugin.OnReady(func(ctx context.Context) error {
			ran = append(ran, "first")
			plugin.SetHealth(ctx, false)
			if _, err := testpb.NewTestServiceClient(plugin.Host(ctx)).EmptyCall(ctx, &testpb.Empty{}); status.Code(err) != codes.Unimplemented {
				t.Errorf("a call to the host: %v", err)
			}
			return nil
		}),
		plugin.OnReady(func(context.Context) error {
			ran = append(ran, "second")
			return nil
		}))
	if line == "" || err != nil {
		t.Errorf("answer %q, error %v", line, err)
	}
	if !slices.Equal(ran, []string{"first", "second"}) {
		t.Errorf("ran %v", ran)
	}
}

// The host sees that the process has ended, and its standard error. No answer says
// that the plugin serves.
func TestOnReadyErrorUnderForeignHost(t *testing.T) {
	t.Parallel()
	cause := errors.New("no licence")
	for _, tt := range []struct {
		name string
		f    func(context.Context) error
		want string
	}{
		{"error", func(context.Context) error { return cause }, "plugin.OnReady: no licence"},
		{"panic", func(context.Context) error { panic("no licence") }, "plugin.OnReady: panic: no licence"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			line, err := serve(t, binding(), plugin.WithTransports(loop{name: "tcp"}), foreignHost, plugin.OnReady(tt.f),
				plugin.OnReady(func(context.Context) error { t.Error("the second function ran"); return nil }))
			if line != "" || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("answer %q, error %v", line, err)
			}
		})
	}
}

func TestOnReadyNil(t *testing.T) {
	t.Parallel()
	_, err := serve(t, binding(), plugin.WithTransports(loop{name: "tcp"}), foreignHost, plugin.OnReady(nil))
	if err == nil || !strings.Contains(err.Error(), "plugin.OnReady: the function is nil") {
		t.Error(err)
	}
}
