package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// A chosen is a JSON object of the output.
type chosen struct {
	Type    string `json:"type"` // "status"
	Version int    `json:"version"`
	Offered []int  `json:"offered"`
}

func statusCommand(o *offer) *hostcli.Command {
	return &hostcli.Command{
		Name:    "status",
		Summary: "print which version was chosen and how the plugin is connected",
		Help:    "Prints which version of the protocol was chosen and how the plugin is connected.\n",
		Run: func(ctx context.Context, s *hostcli.Session) error {
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			c := chosen{Type: "status", Version: p.Info().Version}
			for _, v := range o.selected {
				c.Offered = append(c.Offered, v.protocol.Version())
			}
			numbers := strings.ReplaceAll(listOf(o.selected), ",", ", ")
			return s.Print(fmt.Sprintf("version %d was chosen from %s\n%s", c.Version, numbers, s.Connection()), c)
		},
	}
}
