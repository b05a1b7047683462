package plugin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/protocol"
)

// A debugged plugin serves the highest version unless the environment names others.
func TestDebugVersions(t *testing.T) {
	t.Parallel()
	var protocols []*protocol.Protocol
	for version := 1; version <= 3; version++ {
		protocols = append(protocols, protocol.New("test", version, &testpb.TestService_ServiceDesc))
	}
	family, err := protocol.NewFamily(protocols...)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		asked string
		want  int    // the chosen version
		err   string // the expected error, if no version is chosen
	}{
		{"", 3, ""},
		{"2", 2, ""},
		{"9,1,2", 2, ""},
		{"9", 0, "PLUGIN_PROTOCOL_VERSIONS=9: this plugin serves test 3, 2, 1"},
		{"two", 0, "PLUGIN_PROTOCOL_VERSIONS=two: this plugin serves test 3, 2, 1"},
	} {
		for _, goPlugin := range []bool{false, true} {
			cfg, err := newConfig([]Option{WithLookupEnv(func(name string) (string, bool) {
				if name == negotiation.EnvVersions && tt.asked != "" {
					return tt.asked, true
				}
				return "", false
			})})
			if err != nil {
				t.Fatal(err)
			}
			d := &debugger{cfg: cfg, family: family, goPlugin: goPlugin}
			if err := d.makeOffer(); err != nil {
				if tt.err == "" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%q: %v, want %q", tt.asked, err, tt.err)
				}
				continue
			}
			offer, err := negotiation.ParseOffer(d.lookup(), cfg.cookie, "linux")
			if err != nil {
				t.Fatal(err)
			}
			if offer.Plugwire == goPlugin || (offer.ClientCert == "") != goPlugin {
				t.Errorf("%q, go-plugin %t: offer %+v", tt.asked, goPlugin, offer)
			}
			choice, err := negotiation.Choose(offer, negotiation.Capabilities{
				Protocols: []negotiation.Protocol{{Name: family.Name(), Versions: family.Versions()}}, Transports: offer.Transports,
				Sessions: map[string][]string{"unix": {handshake.SessionDirect}}, Wires: []string{handshake.WireH2},
			})
			if goPlugin && err != nil {
				t.Fatal(err)
			}
			if choice.Version != tt.want || tt.err != "" {
				t.Errorf("%q, go-plugin %t: version %d, want %d or an error with %q", tt.asked, goPlugin, choice.Version, tt.want, tt.err)
			}
		}
	}
}

// Only a plugin that a person has started is debugged.
func TestDebugMode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"nothing", nil, ""},
		{"on", map[string]string{"PLUGWIRE_DEBUG": "1"}, "1"},
		{"off", map[string]string{"PLUGWIRE_DEBUG": "false"}, ""},
		{"go-plugin", map[string]string{"PLUGWIRE_DEBUG": "go-plugin"}, "go-plugin"},
		{"started by a host", map[string]string{"PLUGWIRE_DEBUG": "1", "PLUGIN_MAGIC_COOKIE": "plugwire"}, ""},
		{"another plugin's cookie", map[string]string{"PLUGWIRE_DEBUG": "1", "PLUGIN_MAGIC_COOKIE": "another"}, "1"},
	} {
		cfg, err := newConfig([]Option{WithLookupEnv(func(name string) (string, bool) { value, ok := tt.env[name]; return value, ok })})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, debugMode(cfg)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
