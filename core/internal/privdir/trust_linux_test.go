package privdir

import "testing"

func TestInMap(t *testing.T) {
	t.Parallel()
	for ranges, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"         0       1000          1\n": false, // unshare -r
		"0 1000 1\n1 100000 65536\n":         true,
		"0 0 65534\n":                        false,
		"0 0 65534\n65534 7 1\n":             true,
		"":                                   false,
		"a form that is not known\n":         true,
	} {
		if got := inMap(ranges, 65534); got != want {
			t.Errorf("%q: %t", ranges, got)
		}
	}
}
