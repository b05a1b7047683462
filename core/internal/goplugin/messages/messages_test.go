package messages_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

// messageVector is an item of "messages" in the handshake's vectors.
type messageVector struct {
	Name string
	Type string
	Hex  string

	ConnInfo struct {
		ServiceID        uint32 `json:"service_id"`
		Network, Address string
		Knock            *struct {
			Knock, Ack bool
			Error      string
		}
	} `json:"conn_info"`
	StdioData struct {
		Channel messages.Channel
		DataHex string `json:"data_hex"`
	} `json:"stdio_data"`
	Error   bool
	Written bool
}

// TestVectors decodes and encodes bytes as they are on the wire. Field numbers and types are
// those of grpc_broker.proto and grpc_stdio.proto in go-plugin.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../../handshake/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Messages []messageVector }
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Messages) == 0 {
		t.Fatal("no messages")
	}
	codec := encoding.GetCodecV2("proto")
	for _, v := range all.Messages {
		t.Run(v.Name, func(t *testing.T) {
			want, got := v.message(t)
			err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(unhex(t, v.Hex))}, got)
			if v.Error {
				if err == nil {
					t.Errorf("decoded as %v, want an error", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if !v.Written {
				return
			}
			encoded, err := codec.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if text := hex.EncodeToString(encoded.Materialize()); text != v.Hex {
				t.Errorf("encoded %s, want %s", text, v.Hex)
			}
		})
	}
}

// message returns the message, and an empty one of its type.
func (v *messageVector) message(t *testing.T) (full, empty any) {
	t.Helper()
	switch v.Type {
	case "ConnInfo":
		m := &messages.ConnInfo{ServiceID: v.ConnInfo.ServiceID, Network: v.ConnInfo.Network, Address: v.ConnInfo.Address}
		if k := v.ConnInfo.Knock; k != nil {
			m.Knock = &messages.Knock{Knock: k.Knock, Ack: k.Ack, Error: k.Error}
		}
		return m, &messages.ConnInfo{}
	case "StdioData":
		return &messages.StdioData{Channel: v.StdioData.Channel, Data: unhex(t, v.StdioData.DataHex)}, &messages.StdioData{}
	default:
		t.Fatalf("no message is called %q", v.Type)
		return nil, nil
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
