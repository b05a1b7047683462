package goplugin

import (
	"path/filepath"
	"testing"
)

// TestAddress resolves addresses that hosts on go-plugin accept from a plugin.
func TestAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct{ network, address, want string }{
		{"unix", dir, dir},
		{"unix", "tmp/plugin1", filepath.Join(dir, "tmp", "plugin1")},
		{"unix", "@abstract", "@abstract"}, // the transport refuses it
		{"tcp", "127.0.0.1:7000", "127.0.0.1:7000"},
		{"tcp", "[::1]:7000", "[::1]:7000"},
		{"tcp", "localhost:7000", "127.0.0.1:7000"},
		{"tcp", "localhost:http", "127.0.0.1:80"},
		{"tcp", ":7000", "127.0.0.1:7000"},
		{"tcp", "0.0.0.0:7000", "127.0.0.1:7000"},
		{"tcp", "[::]:7000", "[::1]:7000"},
		{"tcp", "nothing", "nothing"}, // the transport refuses it
		{"quic", "localhost:1", "localhost:1"},
	} {
		got, err := Address(t.Context(), tt.network, tt.address, dir)
		if err != nil || got != tt.want {
			t.Errorf("%s %s: %q, %v; want %q", tt.network, tt.address, got, err, tt.want)
		}
	}
	for _, address := range []string{"127.0.0.1:no-such-service", "name.invalid:1"} {
		if got, err := Address(t.Context(), "tcp", address, dir); err == nil {
			t.Errorf("%s: %q", address, got)
		}
	}
}
