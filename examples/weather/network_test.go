//go:build unix

package weather_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

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
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStations starts the programs of a directory. One program is not a plugin.
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

// TestSupervise calls a station after a call has ended its process.
func TestSupervise(t *testing.T) {
	t.Parallel()
	h, err := network.Supervise(t.Context(), writeStation(t, t.TempDir(), "station-north"))
	if err != nil {
		t.Fatal(err)
	}
	client := weather.NewStationClient(h)
	_, err = client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "exit"})
	if exit, ok := errors.AsType[*host.ExitError](err); !ok || exit.Name != "north" || exit.Status.Code != 3 {
		t.Errorf("the call that ended the process: %v", err)
	}
	if _, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "nothing"}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
