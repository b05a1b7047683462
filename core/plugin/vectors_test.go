package plugin_test

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// pluginVector is an item of "plugins" in the handshake's vectors.
type pluginVector struct {
	Name   string
	Cookie *negotiation.Cookie
	OS     string
	Env    map[string]string
	Plugin struct {
		Versions   []int
		Transports []string
	}
	Line string
}

// A plugin answers hosts of other frameworks. In the line of a vector, ADDRESS and CERT
// stand for values that differ at each start.
func TestVectorsPlugins(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../handshake/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Cookie  negotiation.Cookie
		Plugins []pluginVector
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, v := range all.Plugins {
		if (v.OS == "windows") != (runtime.GOOS == "windows") {
			continue // these systems have other transports
		}
		run++
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			cookie := all.Cookie
			if v.Cookie != nil {
				cookie = *v.Cookie
			}
			line, err := serve(t, v.binding(),
				plugin.WithCookie(cookie.Name, cookie.Value),
				plugin.WithLookupEnv(func(name string) (string, bool) {
					value, ok := v.Env[name]
					return value, ok
				}),
				plugin.WithTransports(v.transports()...))
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
			if got := anonymous(t, line); got != v.Line+"\n" {
				t.Errorf("answer %q, want %q", got, v.Line)
			}
		})
	}
	if run == 0 {
		t.Error("no vector is for this system")
	}
}

func (v *pluginVector) binding() protocol.Binding {
	var bindings []protocol.Binding
	for _, version := range v.Plugin.Versions {
		p := protocol.New("example", version, &testpb.TestService_ServiceDesc)
		bindings = append(bindings, protocol.Bind(p, testpb.UnimplementedTestServiceServer{}))
	}
	return protocol.Join(bindings...)
}

func (v *pluginVector) transports() []transport.Transport {
	var transports []transport.Transport
	for _, name := range v.Plugin.Transports {
		transports = append(transports, loop{name: name})
	}
	return transports
}

// anonymous returns a line with a word in place of its address and of its certificate. It
// fails the test if the certificate does not parse.
func anonymous(t *testing.T, line string) string {
	t.Helper()
	parts := strings.Split(line, "|")
	answer, err := negotiation.ParseAnswer(line, "")
	if err != nil || len(parts) < 6 {
		t.Fatalf("answer %q: %v", line, err)
	}
	parts[3] = "ADDRESS"
	if answer.Cert != nil {
		end := strings.TrimLeft(parts[5], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
		parts[5] = "CERT" + end // an end of line, or characters that are not base64
	}
	return strings.Join(parts, "|")
}
