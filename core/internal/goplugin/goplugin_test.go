package goplugin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"

	"github.com/plugwire/plugwire/core/internal/goplugin"
)

// TestWire has the bytes as they are on the wire (field numbers and types of
// grpc_broker.proto and grpc_stdio.proto in go-plugin).
func TestWire(t *testing.T) {
	codec := encoding.GetCodecV2("proto")
	for name, tt := range map[string]struct {
		message, empty any
		wire           string
	}{
		"an address": {
			&goplugin.ConnInfo{ServiceID: 300, Network: "unix", Address: "/s"}, &goplugin.ConnInfo{},
			"\x08\xac\x02\x12\x04unix\x1a\x02/s",
		},
		"a knock":   {&goplugin.ConnInfo{ServiceID: 1, Knock: &goplugin.Knock{Knock: true}}, &goplugin.ConnInfo{}, "\x08\x01\x22\x02\x08\x01"},
		"an answer": {&goplugin.ConnInfo{ServiceID: 1, Knock: &goplugin.Knock{Knock: true, Ack: true, Error: "no"}}, &goplugin.ConnInfo{}, "\x08\x01\x22\x08\x08\x01\x10\x01\x1a\x02no"},
		"nothing":   {&goplugin.ConnInfo{}, &goplugin.ConnInfo{}, ""},
		"stderr":    {&goplugin.StdioData{Channel: goplugin.Stderr, Data: []byte("oh\xff")}, &goplugin.StdioData{}, "\x08\x02\x12\x03oh\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			encoded, err := codec.Marshal(tt.message)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(encoded.Materialize()); got != tt.wire {
				t.Errorf("encoded %q, want %q", got, tt.wire)
			}
			if err := codec.Unmarshal(encoded, tt.empty); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.message, tt.empty); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}
