// Package runners has two runners for docs/runners.md: one that starts plugins by another
// program, and one that starts them in a container.
package runners

import (
	"context"
	"os/exec"
	"slices"

	"github.com/plugwire/plugwire/core/host"
)

// By starts plugins by another program that then becomes the plugin, such as nice,
// setpriv or unshare.
type By struct {
	// Program is the program and its arguments, before those of the plugin.
	Program []string
	// Runner starts the result.
	Runner host.Runner
}

var _ host.Wrapper = By{}

// Start implements [host.Runner].
func (b By) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	path, err := exec.LookPath(b.Program[0])
	if err != nil {
		return nil, err
	}
	cmd := cfg.Command
	cmd.Args = slices.Concat(b.Program, []string{cmd.Path}, cmd.Args[min(1, len(cmd.Args)):])
	cmd.Path = path
	return b.Runner.Start(ctx, cfg)
}

// Unwrap implements [host.Wrapper]: whatever the wrapped runner can do, this one can.
func (b By) Unwrap() host.Runner { return b.Runner }
