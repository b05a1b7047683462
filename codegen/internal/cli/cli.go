// Package cli is command plugwire-gen: its flags and its output. Begin with [Main].
// It is a package of its own so that tests in other modules can run the command.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

const usage = `usage: plugwire-gen COMMAND [ARGUMENT...]

Makes a running plugin from .proto files. Needs Go and nothing else.

  new NAME                  make a module with a service, a plugin and a host
  generate [DIR|FILE...]    write the Go code of .proto files beside them
  check [DIR|FILE...]       report changes that break hosts and plugins in use
  version                   print the version

plugwire-gen COMMAND -h lists flags. Exit codes: 0 success, 1 an error or a finding,
2 wrong usage.
`

// A streams has the outputs of a command: for results and for errors.
type streams struct{ out, err io.Writer }

func (s streams) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...) // a failed write cannot be reported
}

func (s streams) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, format, args...) // a failed write cannot be reported
}

// progress returns the terminal for notes about slow steps. It returns nil if there
// is no terminal.
func (s streams) progress() io.Writer {
	file, ok := s.err.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return file
}

// errUsage ends a command after it has printed its usage.
var errUsage = errors.New("wrong usage")

// Main runs the command with the program's arguments until the command ends or a
// signal interrupts it. It returns the exit code.
func Main() int {
	// If the shell followed a link to this directory, PWD names the link. Then .. in a
	// computed path means another directory than .. in a call of open.
	_ = os.Unsetenv("PWD") // fails only for an invalid name
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills the process
	return run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
}

// run runs the command with args and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 {
		s.complain("%s", usage)
		return 2
	}
	var err error
	switch name, rest := args[0], args[1:]; name {
	case "new":
		err = runNew(ctx, rest, s)
	case "generate":
		err = runGenerate(ctx, rest, s)
	case "check":
		err = runCheck(ctx, rest, s)
	case "version", "-version", "--version":
		info, _ := debug.ReadBuildInfo() // a command always has it
		s.say("plugwire-gen %s\n", info.Main.Version)
	case "help", "-h", "-help", "--help":
		s.say("%s", usage)
	default:
		s.complain("plugwire-gen: unknown command %q\n\n%s", name, usage)
		return 2
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	default:
		s.complain("%v\n", err)
		return 1
	}
}

// newFlags returns the flags of a command. The help of the command begins with text.
func newFlags(name, text string, s streams) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(s.err)
	flags.Usage = func() {
		_, _ = io.WriteString(flags.Output(), text) // a failed write cannot be reported
		flags.PrintDefaults()
	}
	return flags
}

// parse parses a command's flags.
func parse(flags *flag.FlagSet, args []string, s streams) error {
	explain := flags.Usage
	flags.Usage = func() {} // explain prints the help below, to the stream that fits
	err := flags.Parse(args)
	flags.Usage = explain
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(s.out)
		explain()
		return err
	case err != nil:
		explain()
		return errUsage
	}
	parsed := args[:len(args)-flags.NArg()]
	isExplicit := len(parsed) > 0 && parsed[len(parsed)-1] == "--"
	late := slices.IndexFunc(flags.Args(), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if late >= 0 && !isExplicit {
		s.complain("plugwire-gen %[1]s: flags come before other arguments: plugwire-gen %[1]s %[2]s ...\n", flags.Name(), flags.Arg(late))
		return errUsage
	}
	return nil
}
