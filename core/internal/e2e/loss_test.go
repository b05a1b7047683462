//go:build linux

package e2e_test

import (
	"os"
	"testing"
)

// TestLoss makes calls over a network that loses packets. None may fail. With
// PLUGWIRE_LOSS=full it measures how long they take, which takes minutes, and
// fails if they take longer than the aim of the program loss.
func TestLoss(t *testing.T) {
	full := os.Getenv("PLUGWIRE_LOSS") == "full"
	if full && raceEnabled {
		t.Fatal("the race detector distorts what PLUGWIRE_LOSS=full measures: run without it")
	}
	network := newLossyNetwork(t)
	args := []string{"-netns", network.plugin.path(), "-listen", pluginIP + ":0"}
	if full {
		args = append(args, "-check")
	} else {
		args = append(args, "-rounds", "2", "-length", "1s")
	}
	cmd := network.host.command(command("loss").Path, args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v", cmd, err)
	}
	for _, end := range []*namespace{network.host, network.plugin} {
		c := end.counters(t)
		t.Logf("of %d packets to the %s %d were dropped", c["arrived"], end.name, c["dropped"])
		if c["dropped"] == 0 {
			t.Errorf("no packet to the %s was dropped", end.name)
		}
	}
}
