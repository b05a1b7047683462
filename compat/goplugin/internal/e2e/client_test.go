package plugin_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plugwire/plugwire/compat/goplugin"
)

// TestNetRPCVersions serves the versions that speak gRPC of a plugin that has others too, as
// go-plugin's own example of negotiation does.
func TestNetRPCVersions(t *testing.T) {
	t.Parallel()
	for _, host := range [][]int{{3}, {2, 3}, {3, 5}} {
		cfg := config(t, "net/rpc beside")
		cfg.Plugins = nil
		cfg.VersionedPlugins = make(map[int]plugin.PluginSet)
		for _, version := range host {
			cfg.VersionedPlugins[version] = plugin.PluginSet{"test": testPlugin{version: version}}
		}
		_, d := start(t, cfg)
		check(t, d, "version", "3")
	}
	for version, want := range map[int]string{2: `version 2: "test" is not a GRPC-compatible plugin`, 9: "incompatible API version with plugin"} {
		cfg := config(t, "net/rpc beside")
		cfg.Plugins = nil
		cfg.VersionedPlugins = map[int]plugin.PluginSet{version: {"test": testPlugin{}}}
		if _, err := plugin.NewClient(cfg).Client(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// TestManagedAfterKill ends a plugin whose client was killed before its start.
func TestManagedAfterKill(t *testing.T) {
	cfg := config(t, "plain")
	cfg.Managed = true
	c := plugin.NewClient(cfg)
	c.Kill()
	if c.Exited() {
		t.Error("a plugin that was never started has exited")
	}
	t.Cleanup(c.Kill)
	dispense(t, c)
	plugin.CleanupClients()
	if !c.Exited() {
		t.Error("the plugin runs on")
	}
}

// TestContextDuringStart ends a start with the context of the command.
func TestContextDuringStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, "mute")
	var stderr buffer
	cfg.Stderr = &stderr
	cfg.Cmd = commandContext(ctx, cfg.Cmd)
	c := plugin.NewClient(cfg)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Start()
		failed <- err
	}()
	stderr.await(t, "it runs")
	began := time.Now()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || time.Since(began) > hang/2 {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	cfg = config(t, "plain")
	cfg.Cmd = commandContext(ctx, cfg.Cmd)
	c = plugin.NewClient(cfg)
	t.Cleanup(c.Kill)
	if _, err := c.Start(); !errors.Is(err, context.Canceled) || cfg.Cmd.Process != nil {
		t.Errorf("a context that has ended: %v, %v", err, cfg.Cmd.Process)
	}
}

// TestWaitDelay kills a plugin that does not end when the context of its command does.
func TestWaitDelay(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, "plain")
	cfg.Cmd = commandContext(ctx, cfg.Cmd)
	canceled := make(chan struct{})
	cfg.Cmd.Cancel = func() error {
		close(canceled)
		return nil // the plugin need not heed it
	}
	cfg.Cmd.WaitDelay = time.Millisecond
	_, d := start(t, cfg)
	cancel()
	<-canceled
	select {
	case <-d.ctx.Done():
	case <-time.After(hang):
		t.Error("the plugin runs on")
	}
}

// TestKillFromMany kills a client from many goroutines, before, during and after its start.
func TestKillFromMany(t *testing.T) {
	t.Parallel()
	c := plugin.NewClient(config(t, "plain"))
	c.Kill()
	var kills sync.WaitGroup
	for range 8 {
		kills.Go(func() { _, _ = c.Client() }) // may come after a Kill
		kills.Go(c.Kill)
	}
	kills.Wait()
	c.Kill()
	c.Kill()
	if c.ID() != "" {
		t.Errorf("ID %q", c.ID())
	}
}

// TestKillOfQueuedStarts ends starts that wait for one another.
func TestKillOfQueuedStarts(t *testing.T) {
	t.Parallel()
	cfg := config(t, "mute")
	var stderr buffer
	cfg.Stderr = &stderr
	c := plugin.NewClient(cfg)
	var starts sync.WaitGroup
	for range 4 {
		starts.Go(func() {
			if _, err := c.Start(); err == nil {
				t.Error("a plugin that does not answer has started")
			}
		})
	}
	stderr.await(t, "it runs")
	began := time.Now()
	c.Kill()
	if took := time.Since(began); took > hang/2 {
		t.Errorf("Kill took %v", took)
	}
	c.Kill() // ends a start that came after the first
	starts.Wait()
}

// TestUsesBeforeStart asks a client that has started nothing.
func TestUsesBeforeStart(t *testing.T) {
	t.Parallel()
	c := plugin.NewClient(config(t, "plain"))
	if c.Exited() || c.ID() != "" || c.NegotiatedVersion() != 0 || c.ReattachConfig() != nil {
		t.Errorf("%t, %q, %d, %v", c.Exited(), c.ID(), c.NegotiatedVersion(), c.ReattachConfig())
	}
}

// TestDeadPlugin uses a client after its plugin has died.
func TestDeadPlugin(t *testing.T) {
	t.Parallel()
	cfg := config(t, "plain")
	c, d := start(t, cfg)
	if err := cfg.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.ctx.Done()
	if p, err := c.Client(); err != nil || p.Ping() == nil {
		t.Errorf("a plugin that has died answers: %v", err)
	}
	if !c.Exited() || c.ReattachConfig() == nil {
		t.Error("it has not exited")
	}
	if _, err := d.broker.Dial(1); err == nil {
		t.Error("its broker dials")
	}
	began := time.Now()
	c.Kill()
	if took := time.Since(began); took > hang/2 {
		t.Error(took)
	}
}
