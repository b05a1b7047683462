package e2e_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/manifest"
	"github.com/plugwire/plugwire/core/protocol"
)

// entry is a plugin of a manifest that has the variables that the programs of the tests need.
func entry(name string, more map[string]any) map[string]any {
	e := map[string]any{"name": name, "command": "echo-plugin", "inherit": []string{underTest, "TMPDIR", "GORACE", "PATH"}}
	maps.Copy(e, more)
	return e
}

// writeManifest writes a manifest of these plugins.
func writeManifest(t *testing.T, path string, plugins ...map[string]any) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"manifest": 1, "plugins": plugins})
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestManifestReload runs the plugins of a manifest, and reloads it under load. Members that
// did not change keep their processes, and no call fails. A manifest that is not accepted,
// or has a plugin that does not start, changes nothing.
func TestManifestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, lock := filepath.Join(dir, "plugins.json"), filepath.Join(dir, "plugins.lock.json")
	if err := copyProgram(filepath.Join(binDir, "echo-plugin"), filepath.Join(dir, "echo-plugin")); err != nil {
		t.Fatal(err)
	}
	plugins, ctx, opts := groupTest(t), testContext(t), options(t)
	// The tests' own quote of docs/supervision.md.
	reload := func() error {
		m, err := manifest.LoadLocked(path, lock)
		if err != nil {
			return err
		}
		specs, err := m.Specs([]*protocol.Protocol{echopb.EchoProtocol}, func(manifest.Plugin) []host.Option { return opts })
		if err != nil {
			return err
		}
		return plugins.Apply(ctx, specs...)
	}
	accept := func() {
		t.Helper()
		m, err := manifest.Load(path)
		if err == nil {
			err = m.Lock(lock)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	same, gone, lazy := entry("same", nil), entry("gone", nil), entry("lazy", map[string]any{"lazy": true, "needs": []string{"same"}})
	writeManifest(t, path, same, entry("changed", nil), gone, lazy)
	accept()
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	before := pids(plugins)
	if len(before) != 3 {
		t.Fatalf("these members have processes: %v", before)
	}
	stop := groupLoad(t, plugins, "same", "changed")

	// Not accepted.
	writeManifest(t, path, same, entry("changed", map[string]any{"environment": map[string]string{"VERSION": "2"}}), lazy, entry("new", nil))
	err := reload()
	if refused, ok := errors.AsType[*manifest.LockError](err); !ok || len(refused.Changes) != 3 {
		t.Errorf("%v", err)
	}
	// Accepted, and one of the plugins does not start.
	missing := entry("broken", map[string]any{"args": []string{"x"}, "environment": map[string]string{underTest: ""}, "inherit": []string{"TMPDIR"}})
	missing["command"] = "not-a-plugin"
	if err := os.WriteFile(filepath.Join(dir, "not-a-plugin"), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeManifest(t, path, same, entry("changed", map[string]any{"environment": map[string]string{"VERSION": "2"}}), lazy, missing)
	accept()
	if err := reload(); err == nil || !strings.Contains(err.Error(), "the group is as it was: plugin broken: ") || strings.Contains(err.Error(), "plugin changed") {
		t.Errorf("%v", err)
	}
	if after := pids(plugins); !maps.Equal(before, after) {
		t.Errorf("the processes were %v and are %v", before, after)
	}
	// Accepted and good.
	writeManifest(t, path, same, entry("changed", map[string]any{"environment": map[string]string{"VERSION": "2"}}), lazy, entry("new", nil))
	accept()
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	after := pids(plugins)
	if after["same"] != before["same"] || after["changed"] == before["changed"] || after["gone"] != 0 || after["new"] == 0 || after["lazy"] != 0 {
		t.Errorf("the processes were %v and are %v", before, after)
	}
	if answered, failed := stop(); answered == 0 || len(failed) > 0 {
		t.Errorf("%d calls were answered, and these failed: %v", answered, failed)
	}
	client := echopb.NewEchoClient(memberOf(t, plugins, "lazy"))
	if _, err := client.Unary(ctx, payload("hello")); err != nil {
		t.Error(err)
	}
	// A program that was replaced is not run: a restart finds that out.
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "echo-plugin")); err != nil {
		t.Fatal(err)
	}
	if err := memberOf(t, plugins, "same").Restart(ctx); !errors.Is(err, host.ErrChecksum) {
		t.Errorf("a program that was replaced: %v", err)
	}
}
