package preset_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
)

// TestRecognize checks which applications the texts in a program tell, wherever in the
// file they are.
func TestRecognize(t *testing.T) {
	t.Parallel()
	const chunk = 1 << 20 // what is searched at once
	for _, tt := range []struct {
		name string
		text string
		at   int
		want []string
	}{
		{name: "nothing", text: "nothing"},
		{name: "empty"},
		{name: "terraform", text: "TF_PLUGIN_MAGIC_COOKIE", want: []string{"terraform"}},
		{name: "across two chunks", text: "TF_PLUGIN_MAGIC_COOKIE", at: chunk - 5, want: []string{"terraform"}},
		{name: "at the end of a chunk", text: "NOMAD_PLUGIN_MAGIC_COOKIE", at: chunk - len("NOMAD_PLUGIN_MAGIC_COOKIE"), want: []string{"nomad"}},
		{name: "in a late chunk", text: "VAULT_BACKEND_PLUGIN", at: 3*chunk + 1, want: []string{"vault"}},
		{name: "two", text: "CROWDSEC_PLUGIN_KEY grafana_plugin_type", want: []string{"crowdsec", "grafana"}},
		{name: "spire", text: "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/keymanager/v1.(*KeyManager)", want: []string{"spire-keymanager"}},
		{name: "a package with a common name", text: "example.com/keymanager/v1.Serve"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(path, append(bytes.Repeat([]byte{0}, tt.at), tt.text...), 0o600); err != nil {
				t.Fatal(err)
			}
			found, err := preset.Recognize(path)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range found {
				names = append(names, p.Name)
			}
			if !slices.Equal(names, tt.want) {
				t.Errorf("recognized %q, want %q", names, tt.want)
			}
		})
	}
}

// TestPresets checks that the presets are complete, and sorted for people.
func TestPresets(t *testing.T) {
	t.Parallel()
	all := preset.All()
	if !slices.IsSortedFunc(all, func(a, b preset.Preset) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) }) {
		t.Error("the presets are not sorted by name")
	}
	for _, p := range all {
		if p.About == "" || p.Cookie == "" || p.Value == "" || len(p.Versions) == 0 {
			t.Errorf("preset %+v is not complete", p)
		}
		if found, err := preset.Find(p.Name); err != nil || found.Cookie != p.Cookie {
			t.Errorf("Find(%q) = %+v, %v", p.Name, found, err)
		}
	}
	if _, err := preset.Find("nobody"); err == nil {
		t.Error("a preset that does not exist is found")
	}
	if _, err := preset.Recognize(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a file that does not exist is searched")
	}
}
