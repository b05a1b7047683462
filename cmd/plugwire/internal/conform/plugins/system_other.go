//go:build !unix

package plugins

import (
	"context"
	"os/exec"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// This system has no lifelines, no signals, and no users of sockets.
const (
	hasLifeline = false
	hasSignals  = false
	hasPeerCred = false
)

func setSession(*exec.Cmd, bool) {}

func (s *suite) hostDies(context.Context, *conform.Case) error {
	return conform.NotApplicable("a host's Job object ends the plugin here")
}

func (s *suite) lifelineEnds(context.Context, *conform.Case, bool) error {
	return conform.NotApplicable("this system has no lifelines")
}

func (s *suite) anotherUser(context.Context, *conform.Case) error {
	return conform.NotApplicable("this system has no peer credentials")
}
