package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const (
	pluginName   = "dataprocessor-plugin"
	pluginImport = "github.com/plugwire/plugwire/plugins/dataprocessor/cmd/" + pluginName
)

// pluginCommand returns the command that starts the plugin: the one at path or,
// if path is empty, the one beside this program or in $PATH.
func pluginCommand(path string) (*exec.Cmd, error) {
	if path != "" {
		if filepath.Base(path) == path {
			// A path, as documented, and not a name to look up in $PATH.
			path = "." + string(filepath.Separator) + path
		}
		return exec.Command(path), nil
	}
	path, err := findPlugin()
	if err != nil {
		return nil, err
	}
	return exec.Command(path), nil
}

func findPlugin() (string, error) {
	name := pluginName
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the plugin beside this program: %w", err)
	}
	// A symbolic link to this program does not have the plugin beside it.
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
			name, filepath.Dir(self), err, beside, pluginImport)
	}
	return path, nil
}
