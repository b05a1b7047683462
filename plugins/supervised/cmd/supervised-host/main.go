// Command supervised-host calls the plugin beside it from many goroutines, while the
// plugin is killed, replaced by a newer version, and replaced by the old version again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes of the command.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // what shells report for a program that Ctrl-C ended
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run does what the arguments say, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("supervised-host", flag.ContinueOnError)
	flags.SetOutput(stderr)
	duration := flags.Duration("duration", 8*time.Second, "how long the four steps take together, at least")
	callers := flags.Int("callers", 16, "how many goroutines call the plugin")
	verbose := flags.Bool("v", false, "log what happens to the plugin")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage // flags has printed the error
	case flags.NArg() > 0 || *duration <= 0 || *callers <= 0:
		_, _ = fmt.Fprintln(stderr, "supervised-host: -duration and -callers must be positive, and there are no arguments")
		return exitUsage
	}
	logger := slog.New(slog.DiscardHandler)
	if *verbose {
		logger = slog.New(slog.NewTextHandler(stderr, nil))
	}
	err := show(ctx, *duration, *callers, logger, stdout)
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "supervised-host:", err)
		return exitFailed
	}
	return 0
}
