//go:build unix

package e2e_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// The call that a crash ends may have run. Calls after the crash have not begun,
// whether they wait for a connection or not.
func TestNotBegunAfterCrash(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		plugin func() *host.Plugin
	}{
		{"Plugwire", func() *host.Plugin { return launch(t, command("misbehave")) }},
		{"go-plugin", func() *host.Plugin { return launch(t, onGoPlugin()) }},
	} {
		p := tt.plugin()
		client := echopb.NewEchoClient(p)
		chat, err := client.Chat(testContext(t))
		if err == nil {
			err = chat.Send(payload("begun"))
		}
		if err == nil {
			_, err = chat.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, unary := client.Fail(testContext(t), fail("crash"))
		_, stream := chat.Recv()
		for kind, err := range map[string]error{"unary": unary, "stream": stream} {
			if status.Code(err) != codes.Unavailable || host.NotBegun(err) {
				t.Errorf("%s: the %s call in flight: %v, not begun %t", tt.name, kind, err, host.NotBegun(err))
			}
		}
		waitFor(t, "Done", p.Done())
		for _, opts := range [][]grpc.CallOption{nil, {grpc.WaitForReady(true)}} {
			_, unary := client.Unary(testContext(t), payload("late"), opts...)
			_, stream := client.Chat(testContext(t), opts...)
			for kind, err := range map[string]error{"unary": unary, "stream": stream} {
				asExit(t, err)
				if !host.NotBegun(err) {
					t.Errorf("%s: the %s call after the crash may have run: %v", tt.name, kind, err)
				}
			}
		}
	}
}

// The host asks its own plugins by Control, and those on go-plugin by reflection.
func TestServices(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*host.Plugin{"Plugwire": launch(t, echoPlugin()), "go-plugin": launch(t, onGoPlugin())} {
		services, err := p.Services(testContext(t))
		if err != nil || len(services) != 1 || services[0].Name != "plugwire.e2e.Echo" || len(services[0].Methods) == 0 || services[0].Descriptor() == nil {
			t.Errorf("%s: services %v, %v", name, services, err)
		}
	}
}
