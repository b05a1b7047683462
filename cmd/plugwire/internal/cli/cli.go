// Package cli is the command line of plugwire: its commands, and how the program ends.
package cli

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/bench"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/call"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/hosts"
	pluginrules "github.com/plugwire/plugwire/cmd/plugwire/internal/conform/plugins"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/dev"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/doctor"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/inspect"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/logs"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/top"
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// Main runs the program and returns its exit code. Interrupt, SIGTERM and SIGHUP end what
// runs in good order, with the plugin. A second one ends the process at once, and the
// plugin ends with its host.
func Main(args []string) int {
	probe.Main() // does not return in a plugin that conform gives to a host
	suites := []*conform.Suite{pluginrules.Suite(), hosts.Suite()}
	if code, ran := conform.RunRole(args, suites...); ran {
		return code
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	ended := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	signal.Notify(signals, ended...)
	go func() { // lives as long as the process
		<-signals
		signal.Reset(ended...)
		cancel(errInterrupted)
	}()
	// A write to a pipe that nobody reads then returns an error, so the plugin is closed
	// as after any other. Notify and not Ignore: a plugin would inherit the latter.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	out := output.New(os.Stdout, os.Stderr)
	root := newRoot(out, suites)
	root.SetArgs(doubleDashes(args))
	err := root.ExecuteContext(ctx)
	return exitCode(ctx, out, err)
}

// newRoot returns the program's command.
func newRoot(out *output.Printer, suites []*conform.Suite) *cobra.Command {
	root := &cobra.Command{
		Use:   "plugwire",
		Short: "Inspect, call and diagnose plugins of Plugwire and go-plugin",
		Long: `Plugwire starts a plugin as its host would, or attaches to one that runs, and inspects it,
calls it, and says what is wrong with it. It works on plugins of Plugwire and of go-plugin.

Exit codes: 0 done; 1 the plugin answered with an error, or something is wrong with it;
2 the command line is wrong; 3 the plugin did not start, or could not be reached;
4 the plugin ended while it was used; 130 interrupted.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	root.PersistentFlags().BoolVar(&out.JSON, "json", false, "print JSON, one object on each line")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return output.Usage("%v", err) })
	root.AddCommand(bench.New(out), inspect.New(out), call.New(out), conform.New(out, suites...), dev.New(out), doctor.New(out), logs.New(out), top.New(out), newPresets(out))
	return root
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// doubleDashes returns the arguments with -flag as --flag. Go's own programs take both,
// and pflag only the second. A flag of one letter, such as -h, stays as it is.
func doubleDashes(args []string) []string {
	result := make([]string, 0, len(args))
	completes := len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
	for i, arg := range args {
		if arg == "--" || completes {
			return append(result, args[i:]...)
		}
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' && isLetter(arg[1]) {
			arg = "-" + arg
		}
		result = append(result, arg)
	}
	return result
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// exitCode says what went wrong, and returns the code for it.
func exitCode(ctx context.Context, out *output.Printer, err error) int {
	if err == nil {
		return output.ExitOK
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return output.ExitInterrupted // whatever else failed is a consequence
	}
	if errors.Is(err, syscall.EPIPE) && output.IsWrite(err) {
		return output.ExitOK // the reader has seen enough
	}
	code, details, printed := output.ExitFailed, map[string]any(nil), false
	if own, ok := errors.AsType[*output.Error](err); ok {
		code, details, printed = own.Code, own.Details, own.Printed
	} else if strings.HasPrefix(err.Error(), "unknown command") {
		code = output.ExitUsage // cobra has no type for it
	}
	if printed {
		return code
	}
	out.Note("%s", err.Error())
	if code == output.ExitUsage {
		out.Note("-h shows the usage")
	}
	if out.JSON {
		object := map[string]any{"error": err.Error(), "exit": code}
		maps.Copy(object, details)
		if err := out.Object(object); err != nil {
			out.Note("%v", err)
		}
	}
	return code
}
