package main

import (
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m) }

func TestScripts(t *testing.T) {
	clitest.Scripts{
		Host: "multiservice-host",
		Objects: map[string]any{
			"user":     new(user),
			"stored":   new(storeObject),
			"imported": new(importObject),
			"entry":    new(entry),
			"page":     new(page),
			"status":   new(pluginStatus),
		},
		Commands: map[string]func(*testscript.TestScript, bool, []string){"setenv-from-stdout": setenvFromStdout},
	}.Run(t)
}

// setenvFromStdout is "setenv-from-stdout NAME PATTERN": it sets NAME to the
// match of PATTERN's first group in the last stdout.
func setenvFromStdout(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv-from-stdout NAME PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	match := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(match) < 2 {
		ts.Fatalf("no match in stdout")
	}
	ts.Setenv(args[0], match[1])
}
