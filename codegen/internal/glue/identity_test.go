package glue

import "testing"

func TestFromPackage(t *testing.T) {
	for name, want := range map[string]Identity{
		"hello":                     {"hello", 1},
		"acme.words":                {"acme.words", 1},
		"acme.words.v1":             {"acme.words", 1},
		"acme.words.v2":             {"acme.words", 2},
		"acme.words.v12":            {"acme.words", 12},
		"acme.words.v0":             {"acme.words.v0", 1},
		"acme.words.v02":            {"acme.words.v02", 1},
		"acme.words.v2beta1":        {"acme.words.v2beta1", 1},
		"acme.words.v99999999999":   {"acme.words.v99999999999", 1},
		"acme.v2.words":             {"acme.v2.words", 1},
		"acme.wordsv2":              {"acme.wordsv2", 1},
		"v2":                        {"v2", 1},
		"":                          {"", 1},
		"acme.words.v2147483647":    {"acme.words", 2147483647},
		"acme.words.v2147483648":    {"acme.words.v2147483648", 1},
		"acme.words.v2.v3":          {"acme.words.v2", 3},
		"acme.words.V2":             {"acme.words.V2", 1},
		"acme.words.version2.thing": {"acme.words.version2.thing", 1},
	} {
		if got := fromPackage(name); got != want {
			t.Errorf("fromPackage(%q) = %v, want %v", name, got, want)
		}
	}
}
