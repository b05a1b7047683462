//go:build unix

package host

import (
	"math"
	"testing"
)

// A number that the kernel would cut to another group is an error.
func TestGroupID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "12": 12, "4294967294": math.MaxUint32 - 1, "4294967295": -1, "4294967296": -1, "-1": -1, "": -1} {
		switch gid, err := groupID(text); {
		case want < 0 && err == nil:
			t.Errorf("%q is group %d", text, gid)
		case want >= 0 && (err != nil || int64(gid) != want):
			t.Errorf("%q: group %d, %v", text, gid, err)
		}
	}
}
