// Package network is a host of many weather stations: it finds them in a directory, keeps
// them up, and notices those that are new or gone.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/transport/unix"
)

// prefix begins the name of a program that is a station.
const prefix = "station-"

// Start starts every station of a directory. The caller closes the group.
func Start(ctx context.Context, dir string, opts ...host.Option) (*supervise.Group, error) {
	stations, err := supervise.NewGroup()
	if err != nil {
		return nil, err
	}
	if err := Reload(ctx, stations, dir, opts...); err != nil {
		return nil, errors.Join(err, stations.Close())
	}
	return stations, nil
}

// Reload makes the group consist of the stations that the directory has now.
func Reload(ctx context.Context, stations *supervise.Group, dir string, opts ...host.Option) error {
	programs, skipped, err := host.Discover(dir, prefix+"*")
	if err != nil {
		return err
	}
	for _, file := range skipped {
		slog.Warn("not a station", slog.String("file", file.Path), slog.Any("error", file.Err))
	}
	var specs []supervise.Spec
	for _, program := range programs {
		info, err := os.Stat(program)
		if err != nil {
			return err
		}
		specs = append(specs, supervise.Spec{
			Name:     name(program),
			Optional: true, // a network that lacks a station is better than none
			Revision: fmt.Sprint(info.Size(), info.ModTime()),
			Launch: func(ctx context.Context) (*host.Plugin, error) {
				return Launch(ctx, program, opts...)
			},
		})
	}
	return stations.Apply(ctx, specs...)
}

// name returns the name of a station, which is that of its program without the prefix.
func name(program string) string {
	return strings.TrimPrefix(strings.TrimSuffix(filepath.Base(program), ".exe"), prefix)
}

// Launch starts one station.
func Launch(ctx context.Context, program string, opts ...host.Option) (*host.Plugin, error) {
	return host.Launch(ctx, exec.Command(program), append([]host.Option{
		host.WithName(name(program)),
		host.WithProtocols(weather.StationProtocol),
		host.WithTransports(unix.New()),
	}, opts...)...)
}

// Supervise starts one station and keeps it up: when its process ends, another one takes
// its place.
func Supervise(ctx context.Context, program string, opts ...host.Option) (*supervise.Handle, error) {
	return supervise.Start(ctx, func(ctx context.Context) (*host.Plugin, error) {
		return Launch(ctx, program, opts...)
	})
}
