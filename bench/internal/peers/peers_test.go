package peers

import "testing"

func TestNames(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, p := range All() {
		if seen[p.Name] || p.Plugin == "" || p.Note == "" {
			t.Errorf("%s is a duplicate, or lacks a plugin or a note", p.Name)
		}
		seen[p.Name] = true
		if Find(p.Name) == nil {
			t.Errorf("%s is not found by its name", p.Name)
		}
	}
	for _, name := range []string{Raw, GRPC, GoPlugin, GoPluginMTLS, Compat, CompatMTLS, TTRPC, DRPC, ARPC} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if Find("pigeon") != nil {
		t.Error("a pigeon is found")
	}
}
