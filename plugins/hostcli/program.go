package hostcli

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"syscall"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/transport"
)

// The exit codes, documented in the help text.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// A Program is the command line of a host.
type Program struct {
	// Name is the program's name, for example "hello-host".
	Name string
	// About describes the program in one sentence for its help text.
	About string
	// PluginPackage is the import path of the plugin's command, whose last part
	// is the command's name.
	PluginPackage string
	// Commands are the commands of the program, in the order of the help text.
	// The command ping is added.
	Commands []*Command

	// Flags, if set, adds the flags that all commands have, besides those of
	// this package.
	Flags func(flags *flag.FlagSet)
	// Check, if set, is called after the flags are parsed, those of the command
	// included. Its error is a mistake in the command line.
	Check func() error
	// PluginArgs, if set, returns the arguments of the plugin's command. It is
	// called when the flags are parsed.
	PluginArgs func() []string
	// Options returns the host's options beyond a logger and transports, at
	// least its protocols. It is called when the flags are parsed.
	Options func() []host.Option
}

// A Command is one thing that a program can do.
type Command struct {
	// Name is the word on the command line.
	Name string
	// Args is the text for the arguments in the usage, for example "FILE|-";
	// empty if the command has none.
	Args string
	// Summary is its line in the program's help text.
	Summary string
	// Help is the command's own help text: one or more paragraphs, each line
	// with its end.
	Help string

	// Flags, if set, adds the command's own flags.
	Flags func(flags *flag.FlagSet)
	// Parse, if set, parses the arguments behind the flags. Its error is a
	// mistake in the command line. A command without Parse has no arguments.
	Parse func(args []string) error
	// Run runs the command. The plugin runs from [Session.Start] until Run
	// returns.
	Run func(ctx context.Context, s *Session) error
}

// settings has the values of this package's flags.
type settings struct {
	plugin     string        // path; if empty, the host looks for the plugin
	transports transport.Set // transports to offer, most preferred first
	json       bool
	logLevel   slog.Level
}

// Main runs the program with the arguments of the process, and ends the process
// with the exit code. Interrupt and SIGTERM end the context of the command, a
// second one ends the process at once.
func (p *Program) Main() { os.Exit(p.run(os.Args[1:])) }

func (p *Program) run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	// A write to a pipe without a reader then returns an error, and the plugin
	// is closed as after any error. By default the signal would end the
	// process. Use Notify and not Ignore, because the plugin would inherit an
	// ignored signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	cfg, command, err := p.parse(args)
	s := &Session{program: p, settings: cfg, stdout: os.Stdout, terminal: isTerminal(os.Stdout), stderr: os.Stderr}
	if err == nil {
		err = s.run(ctx, command)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx) // any error is a consequence of the signal
		}
	}
	return s.exit(err)
}

// plugin returns the name of the plugin's command.
func (p *Program) plugin() string { return path.Base(p.PluginPackage) }
