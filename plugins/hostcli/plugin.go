package hostcli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// pluginCommand returns the command that starts the plugin: the one at path or,
// if path is empty, the one beside this program or in $PATH.
func (p *Program) pluginCommand(path string) (*exec.Cmd, error) {
	var args []string
	if p.PluginArgs != nil {
		args = p.PluginArgs()
	}
	if path != "" {
		if filepath.Base(path) == path {
			// The flag has a path, as documented, not a name to look up in
			// $PATH.
			path = "." + string(filepath.Separator) + path
		}
		return exec.Command(path, args...), nil //nolint:gosec // the user's choice
	}
	path, err := p.findPlugin()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, args...), nil //nolint:gosec // the user's choice
}

func (p *Program) findPlugin() (string, error) {
	name := p.plugin()
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the plugin beside this program: %w", err)
	}
	// The plugin is not beside a symbolic link to this program.
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("find the plugin beside this program: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), name)
	switch _, err := os.Stat(beside); {
	case err == nil:
		return beside, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no %s in %s, nor in $PATH (%w)\nname one with -plugin, or build it with: go build -o %s %s",
			name, filepath.Dir(self), err, beside, p.PluginPackage)
	}
	return path, nil
}
