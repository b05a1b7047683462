package rpc_test

import (
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
)

// A list of wires with a mistake is an error of the option, at either side.
func TestWithWireMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		wires []string
		says  string
	}{
		{"none", nil, "want at least one"},
		{"twice", []string{handshake.WireH2, rpc.ToyWire, handshake.WireH2}, `"h2" is listed twice`},
		{"unknown", []string{"pigeon"}, `wire "pigeon" is not available`},
	} {
		_, err := host.Launch(bounded(t), nil, host.WithTransports(exampletest.Loopback{}), host.WithWire(tt.wires...))
		if err == nil || !strings.Contains(err.Error(), "host.WithWire: ") || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("host, %s: %v", tt.name, err)
		}
		err = plugin.Serve(bounded(t), bind(t, "calls", &service{}), plugin.WithWire(tt.wires...), asked())
		if err == nil || !strings.Contains(err.Error(), "plugin.WithWire: ") || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("plugin, %s: %v", tt.name, err)
		}
	}
}

// An option keeps its own list.
func TestWithWireCopies(t *testing.T) {
	t.Parallel()
	wires := []string{rpc.ToyWire}
	opt := host.WithWire(wires...)
	wires[0] = "pigeon"
	p := plugintest.Start(t, bind(t, "calls", &service{}), exampletest.Loopback{}, opt)
	if wire := p.Info().Wire; wire != rpc.ToyWire {
		t.Errorf("the wire is %q", wire)
	}
}
