package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// lossRules drop two of a hundred packets that arrive.
const lossRules = `
table inet loss {
	chain in {
		type filter hook input priority 0
		numgen random mod 1000 < 20 counter drop
	}
}
`

// ownNetwork gives a worker a network of its own, which ends with the worker and its
// plugin. That needs root.
func ownNetwork(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
}

// losePackets makes the network of this process lose packets. Their size is that on a
// wire, because the loss of a large packet that a card would split means something else.
func losePackets(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"ip", "link", "set", "lo", "mtu", "1500", "gso_max_segs", "1", "up"}},
		{lossRules, []string{"nft", "-f", "-"}},
	} {
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
		cmd.Stdin = strings.NewReader(c.stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, out)
		}
	}
	return nil
}
