package hostcli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/plugwire/plugwire/core/host"
)

// A Session is one run of a command: its plugin, and what it prints. It is not
// safe for concurrent use.
type Session struct {
	program  *Program
	settings settings
	stdout   io.Writer

	plugin *host.Plugin // nil before Start
}

// Start starts the plugin and, with -json, prints how it is connected. A command
// calls it once, when it has checked what it can without the plugin. The plugin
// is closed when the command returns.
func (s *Session) Start(ctx context.Context) (*host.Plugin, error) {
	if s.plugin != nil {
		// Only one would be closed.
		return nil, errors.New("the command started its plugin a second time")
	}
	cmd, err := s.program.pluginCommand(s.settings.plugin)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: s.settings.logLevel}))
	opts := append([]host.Option{
		host.WithTransports(s.settings.transports...),
		host.WithLogger(logger),
	}, s.program.Options()...)
	if s.plugin, err = host.Launch(ctx, cmd, opts...); err != nil {
		return nil, err
	}
	if s.settings.json {
		err = s.object(connectionOf(s.plugin.Info()))
	}
	return s.plugin, err
}

// run runs the command and closes the plugin.
func (s *Session) run(ctx context.Context, c *Command) (err error) {
	defer func() {
		if s.plugin == nil {
			return
		}
		// After another error, one of closing is only its echo.
		if closeErr := s.plugin.Close(); err == nil {
			err = closeErr
		}
	}()
	return c.Run(ctx, s)
}

// exit reports err and returns the exit code that goes with it.
func (s *Session) exit(err error, stderr io.Writer) int {
	if help, ok := errors.AsType[helpError](err); ok {
		err = s.text(string(help))
	}
	code := exitFailure
	switch _, usage := errors.AsType[usageError](err); {
	case err == nil:
		return exitOK
	case closedEarly(err):
		return exitFailure // whoever closed stdout early wants to hear no more
	case usage:
		code = exitUsage
	}
	// Without stdout or stderr there is only the exit code left to tell.
	_ = s.failure(err, stderr)
	return code
}
