package handshake_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

const (
	reattach = `{"Protocol":"grpc","ProtocolVersion":6,"Pid":1,"Test":true,"Addr":{"Network":"unix","String":"/tmp/plugin1"}}`
	own      = `{"plugwire":1,"protocol":"echo","version":2,"transport":"tcp/1","address":"127.0.0.1:4711","session":"direct","wire":"h2","security":"mtls",` +
		`"cert":"AQ==","hostcert":"Ag==","hostkey":"c2VjcmV0","pid":12,"started":"34@boot","stays":true}`
	shortOwn = `{"plugwire":1,"protocol":"echo","version":2,"transport":"unix/1","address":"/s","security":"peercred","later":{}}`
)

var (
	reattachInfo = handshake.AttachInfo{
		Foreign: true, Version: 6, Transport: transport.ID{Name: "unix", Version: 1}, Address: "/tmp/plugin1",
		Session: "direct", Wire: "h2", Security: "peercred", PID: 1, Stays: true,
	}
	ownInfo = handshake.AttachInfo{
		Protocol: "echo", Version: 2, Transport: transport.ID{Name: "tcp", Version: 1}, Address: "127.0.0.1:4711",
		Session: "direct", Wire: "h2", Security: "mtls", Cert: []byte{1}, HostCert: []byte{2}, HostKey: []byte("secret"),
		PID: 12, Started: "34@boot", Stays: true,
	}
	shortInfo = handshake.AttachInfo{
		Protocol: "echo", Version: 2, Transport: transport.ID{Name: "unix", Version: 1}, Address: "/s",
		Session: "direct", Wire: "h2", Security: "peercred",
	}
)

func TestParseAttachInfo(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       handshake.AttachInfo
	}{
		{"go-plugin", reattach, reattachInfo},
		{"go-plugin in a map", `{"registry.terraform.io/a/b":` + reattach + `}`, reattachInfo},
		{"go-plugin over tcp", `{"Protocol":"grpc","Pid":7,"Addr":{"Network":"tcp","String":"127.0.0.1:1"}}`, handshake.AttachInfo{
			Foreign: true, Transport: transport.ID{Name: "tcp", Version: 1}, Address: "127.0.0.1:1",
			Session: "direct", Wire: "h2", Security: "none", PID: 7,
		}},
		{"own", own, ownInfo},
		{"own in a map", ` { "echo" : ` + own + " }\n", ownInfo},
		{"defaults and unknown keys", shortOwn, shortInfo},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := handshake.ParseAttachInfo(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			again, err := handshake.ParseAttachInfo(string(text))
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("written and parsed again: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestParseAttachInfoErrors(t *testing.T) {
	replace := func(text, from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("no %s in %s", from, text)
		}
		return strings.Replace(text, from, to, 1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "not a JSON object"},
		{"no object", `[]`, "not a JSON object"},
		{"null", `null`, "null"},
		{"more behind it", own + "x", "not a JSON object"},
		{"neither form", `{}`, `neither the key "plugwire"`},
		{"neither form in a map", `{"echo":{}}`, `entry "echo": it has neither the key "plugwire"`},
		{"a map of numbers", `{"echo":1}`, `entry "echo": it is not a JSON object`},
		{"too long", own + strings.Repeat(" ", 128<<10), "at most 131072"},
		{"version", replace(own, `"plugwire":1`, `"plugwire":2`), "version 2, and this host knows only version 1"},
		{"type", replace(own, `"version":2`, `"version":"two"`), "key version is a string"},
		{"base64", replace(own, `"hostkey":"c2VjcmV0"`, `"hostkey":"top secret!"`), "not base64"},
		{"no protocol", replace(own, `"protocol":"echo",`, ``), "keys protocol and version"},
		{"no version", replace(own, `"version":2,`, ``), "keys protocol and version"},
		{"transport", replace(own, `tcp/1`, `tcp`), `key transport: "tcp" is not a transport`},
		{"address", replace(own, `127.0.0.1:4711`, `a|b`), "the address"},
		{"no security", replace(own, `"security":"mtls",`, ``), "key security is missing"},
		{"pid", replace(own, `"pid":12`, `"pid":-12`), "negative"},
		{"started", replace(own, `34@boot`, strings.Repeat("x", 300)), "key started is 300 bytes long"},
		{"protocol too long", replace(own, `echo`, strings.Repeat("x", 300)), "key protocol is 300 bytes long"},
		{"netrpc", replace(reattach, `"grpc"`, `"netrpc"`), `the plugin speaks "netrpc"`},
		{"network", replace(reattach, `"Network":"unix"`, `"Network":"Unix"`), `network "Unix" is not a transport`},
		{"no address", replace(reattach, `/tmp/plugin1`, ``), "the address is empty"},
		{"negative version", replace(reattach, `"ProtocolVersion":6`, `"ProtocolVersion":-6`), "negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info, err := handshake.ParseAttachInfo(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, %v; want an error with %q", info, err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// TestAttachInfoKeepsItsSecret checks that printed and logged values lack the key.
func TestAttachInfoKeepsItsSecret(t *testing.T) {
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("attached", "info", ownInfo)
	for what, text := range map[string]string{
		"String": ownInfo.String(),
		"%v":     fmt.Sprintf("%v", ownInfo),
		"%+v":    fmt.Sprintf("%+v", ownInfo),
		"slog":   log.String(),
	} {
		if !strings.Contains(text, "127.0.0.1:4711") || strings.Contains(text, "c2VjcmV0") || strings.Contains(text, "secret") {
			t.Errorf("%s: %s", what, text)
		}
	}
}

// TestAttachAddressNotUTF8 checks a path in another encoding, which JSON would change.
func TestAttachAddressNotUTF8(t *testing.T) {
	t.Parallel()
	info := handshake.AttachInfo{Transport: transport.ID{Name: "unix", Version: 1}, Address: "/tmp/m\xfcll/p"}
	if text, err := json.Marshal(info); err == nil || !strings.Contains(err.Error(), "is not UTF-8") {
		t.Errorf("%s, %v", text, err)
	}
}
