package handshake

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func FuzzParseAttachInfo(f *testing.F) {
	for _, seed := range []string{
		`{"Protocol":"grpc","ProtocolVersion":6,"Pid":1,"Test":true,"Addr":{"Network":"unix","String":"/tmp/plugin1"}}`,
		`{"echo":{"plugwire":1,"protocol":"echo","version":2,"transport":"tcp/1","address":"127.0.0.1:4711","session":"direct","wire":"h2","security":"mtls","cert":"AQ==","hostcert":"Ag==","hostkey":"Aw==","pid":12,"started":"34@boot","stays":true}}`,
		`{"plugwire":1,"protocol":"echo","version":2,"transport":"unix/1","address":"/s","security":"peercred"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := ParseAttachInfo(text)
		if err != nil {
			if !cmp.Equal(first, AttachInfo{}) {
				t.Fatalf("%+v with error %v", first, err)
			}
			return
		}
		written, err := first.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if len(written) > maxAttachLen {
			return // escaping made it longer than what is allowed
		}
		second, err := ParseAttachInfo(string(written))
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("attach info, written as %s and parsed again (-want +got):\n%s", written, diff)
		}
	})
}
