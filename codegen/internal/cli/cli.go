// Package cli is command plugwire-gen: its flags, and what it prints. Begin with
// [Main]. It is a package of its own so that tests in other modules can run it.
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

From a .proto file to a running plugin, with nothing but Go installed.

  new NAME                  make a module with a service, a plugin and a host
  generate [DIR|FILE...]    write the Go code of .proto files beside them
  check [DIR|FILE...]       report changes that break what runs already
  version                   print the version

plugwire-gen COMMAND -h says more. Exit codes: 0 done, 1 an error or a finding,
2 wrong usage.
`

// A streams is where a command prints: results and errors.
type streams struct{ out, err io.Writer }

func (s streams) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...) // nowhere to report a failure
}

func (s streams) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, format, args...) // nowhere to report a failure
}

// progress returns the terminal for notes about slow steps, or nil without one.
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

// errUsage ends a command whose arguments have been explained already.
var errUsage = errors.New("wrong usage")

// Main runs the command with the program's arguments until it is done or
// interrupted. It returns the exit code.
func Main() int {
	// If the shell followed a link to this directory, PWD names the link. Without PWD,
	// names and open calls agree on what .. means.
	_ = os.Unsetenv("PWD") // its name is valid
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what the first does not reach
	return run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
}

// run is the whole command. It returns the exit code.
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
		info, _ := debug.ReadBuildInfo() // nil is not in a command
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

// newFlags returns the flags of a command. Their help begins with text.
func newFlags(name, text string, s streams) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(s.err)
	flags.Usage = func() {
		_, _ = io.WriteString(flags.Output(), text) // nowhere to report a failure
		flags.PrintDefaults()
	}
	return flags
}

// parse parses a command's flags.
func parse(flags *flag.FlagSet, args []string, s streams) error {
	explain := flags.Usage
	flags.Usage = func() {} // printed below, to the stream that fits
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
