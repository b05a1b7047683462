package peers

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCompatLinksNoGoPlugin lists what the plugin on compat/goplugin links. What go-plugin's
// packages do at the start of a program would count as that plugin's start.
func TestCompatLinksNoGoPlugin(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../plugin/compat").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(out)) {
		if strings.HasPrefix(name, "github.com/hashicorp/go-plugin") {
			t.Errorf("it links %s", strings.TrimSpace(name))
		}
	}
}
