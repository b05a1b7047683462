package protocol_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/protocol"
)

func TestFamily(t *testing.T) {
	v1, v2, v7 := protocol.New("test", 1, greeterDesc), protocol.New("test", 2, greeterDesc), protocol.New("test", 7, greeterDesc)
	family, err := protocol.NewFamily(v2, v7, v1, v2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{7, 2, 1}, family.Versions()); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	if family.Name() != "test" || family.String() != "test 7, 2, 1" {
		t.Errorf("name %q, string %q", family.Name(), family)
	}
	if family.Version(2) != v2 || family.Version(3) != nil {
		t.Errorf("version 2 is %v, version 3 is %v", family.Version(2), family.Version(3))
	}
}

func TestFamilyErrors(t *testing.T) {
	v1 := protocol.New("test", 1, greeterDesc)
	for _, tt := range []struct {
		name      string
		protocols []*protocol.Protocol
		want      string
	}{
		{"none", nil, "no protocol given"},
		{"nil", []*protocol.Protocol{v1, nil}, "a protocol is nil"},
		{"another name", []*protocol.Protocol{v1, protocol.New("other", 2, greeterDesc)}, "protocols test/1 and other/2 have different names"},
		{"a version twice", []*protocol.Protocol{v1, protocol.New("test", 1, streamerDesc)}, "protocol test/1 is given twice, by two different values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := protocol.NewFamily(tt.protocols...)
			checkError(t, err, tt.want)
		})
	}
}
