package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// pluginCommand is the plugin beside this program. Under go run there is none, so pluginCommand builds it; go run
// removes it with this program.
func pluginCommand(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	const name = "streaming-plugin"
	path := filepath.Join(filepath.Dir(self), name+filepath.Ext(self))
	if _, err := os.Stat(path); err != nil {
		build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/plugwire/plugwire/plugins/streaming/cmd/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("no %s, and building it: %w\n%s", path, err, out)
		}
	}
	return exec.Command(path, args...), nil
}
