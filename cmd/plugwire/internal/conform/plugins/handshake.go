package plugins

import (
	"bytes"
	"context"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// handshakeRules are about the first line that a plugin prints.
func (s *suite) handshakeRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 5", Name: "no-cookie", Profiles: conform.Minimal | conform.GoPlugin,
			Title: "Without its cookie, the plugin says on standard error that it is one, and ends with exit code 1.",
			Check: s.noCookie,
		},
	}
}

// noCookie starts the plugin as a person does.
func (s *suite) noCookie(ctx context.Context, c *conform.Case) error {
	p, err := c.Start(conform.Start{})
	if err != nil {
		return err
	}
	const advice = "look for the cookie's variable first; without its value, write a sentence to standard error and exit with 1"
	exit, err := p.Wait(ctx)
	if err != nil {
		return conform.Fail("the process ends", "it goes on: "+err.Error(), advice)
	}
	if exit.Code != 1 {
		return conform.Fail("exit code 1", exit.String(), advice)
	}
	said, err := p.Stderr.Wait(ctx, func([]byte) bool { return false })
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(said)) == 0 {
		return conform.Fail("a sentence on standard error", "nothing", advice)
	}
	if printed := p.Stdout.Bytes(); len(bytes.TrimSpace(printed)) > 0 {
		return conform.Fail("nothing on standard output", strings.TrimSpace(string(printed)), advice)
	}
	return nil
}

// cut splits NAME=VALUE.
func cut(entry string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(entry, "=")
	return name, value, ok && name != ""
}
