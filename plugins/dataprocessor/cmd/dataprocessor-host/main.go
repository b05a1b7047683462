// Command dataprocessor-host starts the data processor's plugin and sends it
// the lines of a file, asks for its status, or measures calls. See -h.
package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

// The exit codes, documented in the help text.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is the whole command. It returns the exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	// A write to a pipe that nobody reads is then an error, and the plugin is
	// closed as after any other; by default the process would be gone. Notify
	// and not Ignore, because the plugin would inherit what is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	cfg, err := parse(args)
	out := &output{w: os.Stdout, json: cfg.json}
	if err == nil {
		err = execute(ctx, cfg, out)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx) // whatever failed, failed because of the signal
		}
	}
	return exit(err, out, os.Stderr)
}

// execute starts the plugin, runs the command on it and closes it.
func execute(ctx context.Context, cfg config, out *output) (err error) {
	input := os.Stdin
	if cfg.command == processCommand && cfg.input != "-" {
		// Before the plugin is started: a misspelt name should fail at once.
		if input, err = os.Open(cfg.input); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, input.Close()) }()
	}
	cmd, err := pluginCommand(cfg.plugin)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.logLevel}))
	p, err := host.Launch(ctx, cmd,
		host.WithProtocols(example.DataProcessorProtocol),
		host.WithTransports(cfg.transports...),
		host.WithLogger(logger))
	if err != nil {
		return err
	}
	defer func() {
		// After another error, one of closing is only its echo.
		if closeErr := p.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := out.connection(p.Info()); err != nil {
		return err
	}
	client := example.NewDataProcessorClient(p)
	switch cfg.command {
	case statusCommand:
		return showStatus(ctx, client, out)
	case pingCommand:
		return ping(ctx, client, cfg.count, out)
	default:
		return process(ctx, client, input, newProgress(input, os.Stdout, os.Stderr), cfg, out)
	}
}

// exit reports err and returns the exit code that goes with it.
func exit(err error, out *output, stderr io.Writer) int {
	if help, ok := errors.AsType[helpError](err); ok {
		err = out.text(string(help))
	}
	code := exitFailure
	switch _, usage := errors.AsType[usageError](err); {
	case err == nil:
		return exitOK
	case errors.Is(err, syscall.EPIPE):
		return exitFailure // whoever closed stdout early wants to hear no more
	case usage:
		code = exitUsage
	}
	// Without stdout or stderr there is only the exit code left to tell.
	_ = out.failure(err, stderr)
	return code
}
