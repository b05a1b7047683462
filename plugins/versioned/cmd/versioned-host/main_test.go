package main

import (
	"os"
	"testing"

	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// The scripts use the real commands, built as a user builds them.

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		playRole() // does not return
	}
	clitest.Main(m)
}

func TestScripts(t *testing.T) {
	clitest.Scripts{
		Host: name,
		Objects: map[string]any{
			"result": new(result),
			"failed": new(failedFile),
			"status": new(chosen),
		},
	}.Run(t)
}

// The host notices the plugin's end even while it waits for a text.
func TestPluginDies(t *testing.T) { clitest.Start(t, name, "process", "-").KillPlugin(t) }
