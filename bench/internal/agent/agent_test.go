package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAgent asks an agent in this process for its usage and a profile.
func TestAgent(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "agent-") //nolint:usetesting // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c, err := Listen(t.Context(), filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(filepath.Join(dir, "s")) }()
	before, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; {
		after, err := c.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if used := after.Sub(before); used.CPU > 0 && used.Objects > 0 {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("a minute of questions used nothing")
		}
	}
	profile := filepath.Join(dir, "profile")
	stop, err := c.Profile(profile)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
		t.Errorf("the profile: %v, %v", info, err)
	}
	if _, err := c.Profile(filepath.Join(dir, "missing", "profile")); err == nil {
		t.Error("a profile in a missing directory is accepted")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
