package main

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// A pluginStatus is a JSON object of the output.
type pluginStatus struct {
	Type   string `json:"type"`   // "status"
	Status string `json:"status"` // "serving"
	Dir    string `json:"dir"`
}

func statusCommand(dir *string) *hostcli.Command {
	return &hostcli.Command{
		Name:    "status",
		Summary: "print whether the plugin serves, and how it is connected",
		Help:    "Prints whether the plugin serves the database, and how it is connected.\n",
		Run: func(ctx context.Context, s *hostcli.Session) error {
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			if err := p.Ping(ctx); err != nil {
				return err
			}
			return s.Print(fmt.Sprintf("serving the database in %s\n%s", *dir, s.Connection()), pluginStatus{"status", "serving", *dir})
		},
	}
}
