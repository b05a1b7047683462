//go:build unix

package weather_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/network"
)

// writeStation writes a program that becomes this test binary as a plugin.
func writeStation(t *testing.T, dir, name string) string {
	t.Helper()
	return writeProgram(t, dir, name, fmt.Sprintf("%s=1 exec '%s'", pluginVariable, self(t)))
}

func writeProgram(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // it is executed
		t.Fatal(err)
	}
	return path
}

// TestStations starts a directory of plugins, one of which is none.
func TestStations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"north", "south"} {
		writeStation(t, dir, "station-"+name)
	}
	writeProgram(t, dir, "station-broken", "exit 3")
	writeProgram(t, dir, "other", "exit 4")
	stations, err := network.Start(t.Context(), dir)
	t.Cleanup(func() { _ = stations.Close() }) // it is closed below, where it counts
	if failed, ok := errors.AsType[*host.StartError](err); !ok || failed.Name != "broken" || strings.Contains(err.Error(), "exit code 4") {
		t.Errorf("%v", err)
	}
	if names := slices.Sorted(maps.Keys(stations)); !slices.Equal(names, []string{"north", "south"}) {
		t.Errorf("%v run", names)
	}
	for name, p := range stations {
		if _, err := weather.NewStationClient(p).ListReadings(t.Context(), &weather.ListReadingsRequest{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stations.Close(); err != nil {
		t.Error(err)
	}
}

// TestKeep kills a plugin twice, and then ends the loop.
func TestKeep(t *testing.T) {
	t.Parallel()
	program := writeStation(t, t.TempDir(), "station-north")
	launch := func(ctx context.Context) (*host.Plugin, error) { return network.Launch(ctx, program) }
	started := make(chan *host.Plugin, 1)
	reported := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- network.Keep(ctx, launch, func(p *host.Plugin) { started <- p }, func(err error) { reported <- err })
	}()
	for range 2 {
		p := <-started
		if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if exit, ok := errors.AsType[*host.ExitError](<-reported); !ok || exit.Name != "north" || exit.Status.Signal != "killed" {
			t.Errorf("%v", exit)
		}
	}
	p := <-started
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-p.Done()
}

// TestKeepStopped stops a plugin, which is then not started again.
func TestKeepStopped(t *testing.T) {
	t.Parallel()
	program := writeStation(t, t.TempDir(), "station-north")
	launch := func(ctx context.Context) (*host.Plugin, error) { return network.Launch(ctx, program) }
	started := make(chan *host.Plugin, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- network.Keep(t.Context(), launch, func(p *host.Plugin) { started <- p }, func(err error) { t.Error(err) })
	}()
	if err := (<-started).Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
