//go:build unix

package weather_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// TestStations starts the programs of a directory. One program is not a plugin. Then the
// directory changes: a station is new, one is gone and one is another program.
func TestStations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"north", "south", "west"} {
		writeStation(t, dir, "station-"+name)
	}
	writeProgram(t, dir, "station-broken", "exit 3")
	writeProgram(t, dir, "other", "exit 4")
	stations, err := network.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stations.Close() }) // it is closed below, where it counts
	processes := func() map[string]int {
		t.Helper()
		processes := make(map[string]int)
		for _, s := range stations.State() {
			if s.Name == "broken" {
				if failed, ok := errors.AsType[*host.StartError](s.Err); !ok || failed.Name != "broken" {
					t.Errorf("the state of a broken station: %+v", s)
				}
				continue
			}
			h, err := stations.Member(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := weather.NewStationClient(h).ListReadings(t.Context(), &weather.ListReadingsRequest{}); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
			processes[s.Name] = s.Plugin.Info().PID
		}
		return processes
	}
	before := processes()
	if names := slices.Sorted(maps.Keys(before)); !slices.Equal(names, []string{"north", "south", "west"}) {
		t.Errorf("%v run", names)
	}

	writeStation(t, dir, "station-east")
	if err := os.Remove(filepath.Join(dir, "station-west")); err != nil {
		t.Fatal(err)
	}
	north := filepath.Join(dir, "station-north")
	if err := os.Chtimes(north, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := network.Reload(t.Context(), stations, dir); err != nil {
		t.Fatal(err)
	}
	after := processes()
	if names := slices.Sorted(maps.Keys(after)); !slices.Equal(names, []string{"east", "north", "south"}) {
		t.Errorf("%v run after the change", names)
	}
	if after["south"] != before["south"] || after["north"] == before["north"] {
		t.Errorf("the processes were %v and are %v", before, after)
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
