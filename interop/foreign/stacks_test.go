//go:build unix

package foreign_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A stack is an implementation of gRPC with a plugin on it.
type stack struct {
	name    string   // name, and directory in the module
	command []string // relative to the module
	needs   []string // command that succeeds if everything that the plugin needs is there
	missing string   // what to do if the command fails
}

var stacks = []stack{
	{
		name:    "grpcjs",
		command: []string{"node", "grpcjs/plugin.js"},
		needs:   []string{"sh", "-c", `node --version && test -d "$0"`, "grpcjs/node_modules/@grpc/grpc-js"},
		missing: "install node, and run npm ci in interop/grpcjs",
	},
	{
		// The first python3 in the path may not be Debian's, but only Debian's
		// has Debian's packages.
		name:    "grpcpython",
		command: []string{"/usr/bin/python3", "grpcpython/plugin.py"},
		needs:   []string{"/usr/bin/python3", "-c", "import cryptography, google.protobuf, grpc"},
		missing: "apt-get install python3-grpcio python3-cryptography",
	},
}

// require skips a test if the plugin's stack is not on this machine. In CI a
// missing stack is an error.
func (s stack) require(t *testing.T) {
	t.Helper()
	// go test caches results, so it has to see the files that they depend on.
	if _, err := os.ReadDir(filepath.Join("..", s.name)); err != nil {
		t.Fatal(err)
	}
	needs := exec.Command(s.needs[0], s.needs[1:]...)
	needs.Dir = ".."
	out, err := needs.CombinedOutput()
	if err == nil {
		return
	}
	lack := s.name + " is not here: " + s.missing
	reason := fmt.Sprintf("%s\n%v\n%s", lack, err, out)
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	summary.lack(s.name, lack)
	t.Skip(reason)
}

// plugin returns the command of the plugin, and removes the given variables from
// its environment.
func (s stack) plugin(without ...string) *exec.Cmd {
	args := []string{"env"}
	for _, name := range without {
		args = append(args, "-u", name)
	}
	args = append(args, s.command...)
	script := &args[len(args)-1]
	*script = filepath.Join("..", *script)
	return exec.Command(args[0], args[1:]...)
}
