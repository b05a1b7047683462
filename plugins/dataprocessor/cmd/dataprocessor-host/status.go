package main

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli"
)

// A pluginStatus is a JSON object of the output.
type pluginStatus struct {
	Type    string `json:"type"` // "status"
	Status  string `json:"status"`
	Version string `json:"version"`
	Uptime  int64  `json:"uptime"` // seconds
}

func statusCommand() *hostcli.Command {
	return &hostcli.Command{
		Name:    "status",
		Summary: "print the plugin's state and how it is connected",
		Help:    "Prints the plugin's state and how it is connected.\n",
		Run: func(ctx context.Context, s *hostcli.Session) error {
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			return showStatus(ctx, example.NewDataProcessorClient(p), s)
		},
	}
}

func showStatus(ctx context.Context, client example.DataProcessorClient, s *hostcli.Session) error {
	resp, err := client.GetStatus(ctx, &example.StatusRequest{})
	if err != nil {
		return err
	}
	return s.Print(fmt.Sprintf("%s, version %s, up %d s\n%s", resp.GetStatus(), resp.GetVersion(), resp.GetUptime(), s.Connection()),
		pluginStatus{"status", resp.GetStatus(), resp.GetVersion(), resp.GetUptime()})
}
