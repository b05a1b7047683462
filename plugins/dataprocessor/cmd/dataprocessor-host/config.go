package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/core/transport"
)

// The commands.
const (
	processCommand = "process"
	statusCommand  = "status"
	pingCommand    = "ping"
)

const mainHelp = `usage: dataprocessor-host [flags] process [flags] FILE|-
       dataprocessor-host [flags] status
       dataprocessor-host [flags] ping [flags]

Starts the data processor's plugin, uses it and stops it again.

  process   send each line of a file to the plugin and print the results
  status    print the plugin's state and how it is connected
  ping      make small calls and print how long they took

"dataprocessor-host process -h" says more about process, and so on.

The plugin is reached over the first of -transports that works: unix, quic or
tcp. Why it was not an earlier one is printed with how it is connected.

Exit codes: 0 done, 1 failure (without a message if stdout was closed early),
2 wrong usage. Errors are printed on stderr.

With -json each line of stdout is one JSON object whose "type" says what it is.
The first is the "connection"; "result", "stored", "status" and "latency"
follow as the command has them, and an "error" is the last.

Flags:
`

const processHelp = `usage: dataprocessor-host [flags] process [flags] FILE|-

Sends each line of FILE, or of standard input, to the plugin and prints the
results in the order of the lines. Up to 64 lines are on their way at a time.
With -query the matching stored results follow, newest first, as lines of id,
time and text, separated by tabs.

A line ends with LF or CR LF, is UTF-8 and fits into a message of 256 MiB. An empty line
is not sent, its result is an empty line. The first line that fails ends the
command; the results of all lines before it have then been printed.

Options of the plugin, each "true" or "false", in the order of application:
trim, uppercase, lowercase, reverse, sha256.

Flags:
`

const statusHelp = `usage: dataprocessor-host [flags] status [flags]

Prints the plugin's state and how it is connected.

Flags:
`

const pingHelp = `usage: dataprocessor-host [flags] ping [flags]

Makes small unary calls, one after the other, and prints how long they took, in
microseconds, and how the plugin is connected. To compare transports:

  dataprocessor-host -transports unix ping
  dataprocessor-host -transports tcp ping

Flags:
`

// config is what the command line asks for.
type config struct {
	plugin     string        // path; empty means that it is to be found
	transports transport.Set // to offer, most preferred first
	json       bool
	logLevel   slog.Level
	command    string

	// Of the ping command.
	count int

	// Of the process command.
	options map[string]string
	tags    []string
	query   *string // nil means no query
	limit   int32
	input   string // a file's name, or "-"
}

// helpError is the text that the user asked for.
type helpError string

func (helpError) Error() string { return "help" }

// usageError is a mistake in the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

// parse returns what args ask for, or a helpError or usageError. After an error
// the config holds what was understood so far.
func parse(args []string) (config, error) {
	cfg := config{
		transports: transports(),
		logLevel:   slog.LevelWarn,
		count:      defaultCount,
		options:    map[string]string{},
	}

	flags := newFlags(&cfg)
	if err := parseFlags(flags, args, mainHelp); err != nil {
		return cfg, err
	}
	if flags.NArg() == 0 {
		return cfg, usageError("a command is missing: process, status or ping")
	}
	cfg.command = flags.Arg(0)
	args = flags.Args()[1:]

	// The flags before the command are also understood after it.
	flags = newFlags(&cfg)
	switch cfg.command {
	case processCommand:
		addProcessFlags(flags, &cfg)
		if err := parseFlags(flags, args, processHelp); err != nil {
			return cfg, err
		}
		if flags.NArg() != 1 {
			return cfg, usageError(fmt.Sprintf("process needs one FILE, or - for standard input, and has %d", flags.NArg()))
		}
		cfg.input = flags.Arg(0)
	case statusCommand:
		if err := parseFlags(flags, args, statusHelp); err != nil {
			return cfg, err
		}
		if flags.NArg() > 0 {
			return cfg, usageError("status has no arguments")
		}
	case pingCommand:
		addPingFlags(flags, &cfg)
		if err := parseFlags(flags, args, pingHelp); err != nil {
			return cfg, err
		}
		if flags.NArg() > 0 {
			return cfg, usageError("ping has no arguments")
		}
	default:
		return cfg, usageError(fmt.Sprintf("unknown command %q: the commands are process, status and ping", cfg.command))
	}
	return cfg, nil
}

func newFlags(cfg *config) *flag.FlagSet {
	flags := flag.NewFlagSet("dataprocessor-host", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run reports errors, and only once
	flags.StringVar(&cfg.plugin, "plugin", cfg.plugin, "`path` of the plugin (default dataprocessor-plugin beside this program, then in $PATH)")
	flags.Func("transports", "`list` of transports to offer, most preferred first (default "+listOf(transports())+")", func(s string) (err error) {
		cfg.transports, err = selectTransports(s)
		return err
	})
	flags.BoolVar(&cfg.json, "json", cfg.json, "print JSON objects, one a line")
	flags.TextVar(&cfg.logLevel, "log-level", cfg.logLevel, "least `level` of log lines on stderr: debug, info, warn or error")
	return flags
}

func addPingFlags(flags *flag.FlagSet, cfg *config) {
	flags.Func("count", fmt.Sprintf("`number` of calls (default %d)", cfg.count), func(s string) (err error) {
		cfg.count, err = strconv.Atoi(s)
		if err != nil || cfg.count < 1 || cfg.count > maxCount {
			return fmt.Errorf("want a number from 1 to %d", maxCount)
		}
		return nil
	})
}

func addProcessFlags(flags *flag.FlagSet, cfg *config) {
	flags.Func("option", "option of the plugin as `name=value`; repeatable", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return errors.New("want name=value")
		}
		if _, ok := cfg.options[name]; ok {
			return fmt.Errorf("option %s is given twice", name)
		}
		cfg.options[name] = value
		return nil
	})
	flags.Func("tag", "`tag` to put before each result; repeatable", func(s string) error {
		cfg.tags = append(cfg.tags, s)
		return nil
	})
	flags.Func("query", "afterwards print the stored results that contain this `text`; empty matches all", func(s string) error {
		cfg.query = &s
		return nil
	})
	flags.Func("limit", "most stored results to print, a `number`; 0 means the plugin's default of 10", func(s string) error {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("want a number from 0 to %d", math.MaxInt32)
		}
		cfg.limit = int32(n)
		return nil
	})
}

// parseFlags parses args. It turns a request for help into a helpError that
// begins with help, and everything else that is wrong into a usageError.
func parseFlags(flags *flag.FlagSet, args []string, help string) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		var text strings.Builder
		text.WriteString(help)
		flags.SetOutput(&text)
		flags.PrintDefaults()
		return helpError(text.String())
	case err != nil:
		return usageError(err.Error())
	default:
		return nil
	}
}
