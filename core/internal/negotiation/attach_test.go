package negotiation_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/transport"
)

const (
	reattach = `{"Protocol":"grpc","ProtocolVersion":6,"Pid":1,"Test":true,"Addr":{"Network":"unix","String":"/tmp/plugin1"}}`
	own      = `{"plugwire":1,"protocol":"echo","version":2,"transport":"tcp/1","address":"127.0.0.1:4711","session":"direct","wire":"h2","security":"mtls",` +
		`"cert":"AQ==","hostcert":"Ag==","hostkey":"c2VjcmV0","pid":12,"started":"34@boot","stays":true}`
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
)

func TestParseAttachMap(t *testing.T) {
	got, err := negotiation.ParseAttachMap(`{"echo":` + own + `,"other":` + reattach + `}`)
	if diff := cmp.Diff(map[string]handshake.AttachInfo{"echo": ownInfo, "other": reattachInfo}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := negotiation.ParseAttachMap(`{"echo":` + own + `,"other":{"plugwire":9}}`); err == nil || !strings.Contains(err.Error(), `entry "other": it has version 9`) {
		t.Errorf("error %v", err)
	}
	if _, err := negotiation.ParseAttachMap(own); err == nil {
		t.Error("what is no map is taken for one")
	}
}

func TestFormatAttachMap(t *testing.T) {
	info := ownInfo
	info.Address = "it's"
	text, err := negotiation.FormatAttachMap(info)
	if err != nil || strings.Contains(text, "'") {
		t.Errorf("%s, %v; want no single quote", text, err)
	}
	got, err := negotiation.ParseAttachMap(text)
	if diff := cmp.Diff(map[string]handshake.AttachInfo{"echo": info}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
