package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

func TestArgumentsThatAreNotText(t *testing.T) {
	for _, args := range [][]string{{"get", "a\xff"}, {"put", "a\xff"}, {"chat", "-user", "a\xff"}} {
		cmd := exec.CommandContext(t.Context(), clitest.Path("streaming-host"), args...)
		output, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(output), `"a\xff" is not UTF-8`) {
			t.Errorf("%q: %v\n%s", args, cmd.ProcessState, output)
		}
	}
}
