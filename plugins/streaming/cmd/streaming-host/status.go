package main

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

// A pluginStatus is a JSON object of the output.
type pluginStatus struct {
	Type         string `json:"type"` // "status"
	Status       string `json:"status"`
	Version      string `json:"version"`
	Uptime       int64  `json:"uptime"` // seconds
	Transfers    int32  `json:"transfers"`
	Participants int32  `json:"participants"`
}

func statusCommand() *hostcli.Command {
	return &hostcli.Command{
		Name:    "status",
		Summary: "print the plugin's state and how it is connected",
		Help:    "Prints the plugin's state and how it is connected.\n",
		Run: func(ctx context.Context, s *hostcli.Session) error {
			plugin, err := s.Start(ctx)
			if err != nil {
				return err
			}
			resp, err := streaming.NewStreamingServiceClient(plugin).GetStatus(ctx, &streaming.StatusRequest{})
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%s, version %s, up %d s, %d transfers, %d participants\n%s",
				resp.GetStatus(), resp.GetVersion(), resp.GetUptime(), resp.GetTransfers(), resp.GetParticipants(), s.Connection())
			return s.Print(text, pluginStatus{
				"status", resp.GetStatus(), resp.GetVersion(), resp.GetUptime(), resp.GetTransfers(), resp.GetParticipants(),
			})
		},
	}
}
