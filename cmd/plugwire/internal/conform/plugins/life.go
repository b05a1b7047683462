package plugins

import (
	"context"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// lifeRules are about what happens when the host dies.
func (s *suite) lifeRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 16", Name: "host-dies", Profiles: conform.Minimal, Needs: []string{needHealth},
			Title: "The plugin ends when a foreign host is killed.",
			Check: s.hostDies,
		},
		{
			Section: "protocol 16", Name: "closed-output", Profiles: all, Needs: []string{needHealth},
			Title: "The plugin goes on if its host reads standard output no more.",
			Check: s.closedOutput,
		},
		{
			Section: "protocol 13", Name: "lifeline", Needs: []string{needFields},
			Title: "The plugin ends at the end of its lifeline, and removes its socket.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.lifelineEnds(ctx, c, false) },
		},
		{
			Section: "protocol 13", Name: "lifeline-while-stopped", Needs: []string{"protocol-13/lifeline"},
			Title: "The plugin ends at the end of its lifeline also when it is stopped by SIGSTOP.",
			Check: func(ctx context.Context, c *conform.Case) error { return s.lifelineEnds(ctx, c, true) },
		},
	}
}

// closedOutput closes one of the two outputs: that says nothing about the host.
func (s *suite) closedOutput(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	if err := p.Stdout.Close(); err != nil {
		return err
	}
	return p.serves(ctx, "without a reader of its standard output")
}
