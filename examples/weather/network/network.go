// Package network is a host of many weather stations: it finds them in a directory,
// starts and stops them together, and keeps one up.
package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/transport/unix"
)

// prefix begins the name of a program that is a station.
const prefix = "station-"

// maxStarting bounds the plugins that start at the same time. A start is work for the
// processor, so more at a time only makes each of them slower.
const maxStarting = 8

// Stations are running plugins by their names.
type Stations map[string]*host.Plugin

// Start starts every station of a directory. The error says why some did not start; the
// others run all the same, and the caller closes them.
func Start(ctx context.Context, dir string, opts ...host.Option) (Stations, error) {
	programs, skipped, err := host.Discover(dir, prefix+"*")
	if err != nil {
		return nil, err
	}
	stations := make(Stations)
	var errs []error
	for _, file := range skipped {
		errs = append(errs, fmt.Errorf("not a station: %v", file))
	}
	var mu sync.Mutex // guards stations and errs
	var starting sync.WaitGroup
	turns := make(chan struct{}, maxStarting)
	for _, program := range programs {
		starting.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			p, err := Launch(ctx, program, opts...)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err) // it names the plugin
				return
			}
			stations[p.Name()] = p
		})
	}
	starting.Wait()
	return stations, errors.Join(errs...)
}

// Launch starts one station, whose name is that of its program without the prefix.
func Launch(ctx context.Context, program string, opts ...host.Option) (*host.Plugin, error) {
	name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(program), ".exe"), prefix)
	return host.Launch(ctx, exec.Command(program), append([]host.Option{
		host.WithName(name),
		host.WithProtocols(weather.StationProtocol),
		host.WithTransports(unix.New()),
	}, opts...)...)
}

// Close stops all stations at once: together they need as long as the slowest.
func (s Stations) Close() error {
	plugins := slices.Collect(maps.Values(s))
	errs := make([]error, len(plugins))
	var closing sync.WaitGroup
	for i, p := range plugins {
		closing.Go(func() { errs[i] = p.Close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// Supervise starts one station and keeps it up: when its process ends, another one takes
// its place.
func Supervise(ctx context.Context, program string, opts ...host.Option) (*supervise.Handle, error) {
	return supervise.Start(ctx, func(ctx context.Context) (*host.Plugin, error) {
		return Launch(ctx, program, opts...)
	})
}
