package hostcli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/plugwire/plugwire/core/host"
)

// A Session is one run of a command: its plugin and its output. It is not safe
// for concurrent use.
type Session struct {
	program  *Program
	settings settings
	stdout   io.Writer
	terminal bool // true if stdout is a terminal
	stderr   io.Writer

	plugin *host.Plugin            // nil before Start
	end    context.CancelCauseFunc // cancels the command's context; set when the command runs
}

// Start starts the plugin and, with -json, prints how it is connected. A command
// calls it once, after all checks that do not need the plugin. The plugin is
// closed when the command returns. If the plugin ends earlier, the command's
// context ends too, so that a command that waits for something else notices it.
func (s *Session) Start(ctx context.Context) (*host.Plugin, error) {
	if s.plugin != nil {
		// Only one plugin would be closed.
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
	go s.watch()
	if s.settings.json {
		err = s.object(connectionOf(s.plugin.Info()))
	}
	return s.plugin, err
}

// watch ends the command when its plugin has ended, at the latest when run closes
// the plugin.
func (s *Session) watch() {
	<-s.plugin.Done()
	s.end(s.plugin.Err())
}

// run runs the command and closes the plugin.
func (s *Session) run(ctx context.Context, c *Command) (err error) {
	ctx, s.end = context.WithCancelCause(ctx)
	defer s.end(nil)
	err = c.Run(ctx, s)
	if s.plugin == nil {
		return err
	}
	closeErr := s.plugin.Close()
	exit, ok := errors.AsType[*host.ExitError](closeErr)
	endedByItself := ok && exit.Step == ""
	// After another error, an error of closing is only a consequence. But if the
	// plugin had ended by itself, the other error is the consequence.
	if err == nil || endedByItself {
		err = closeErr
	}
	return err
}

// exit reports err and returns the exit code for it.
func (s *Session) exit(err error) int {
	if help, ok := errors.AsType[helpError](err); ok {
		err = s.text(string(help))
	}
	code := exitFailure
	switch _, usage := errors.AsType[usageError](err); {
	case err == nil:
		return exitOK
	case closedEarly(err):
		return exitFailure // the reader that closed stdout early wants no message
	case usage:
		code = exitUsage
	}
	// Without stdout and stderr only the exit code can report the error.
	_ = s.failure(err)
	return code
}
