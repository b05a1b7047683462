package hostcli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"
)

// helpError is the help text that the user asked for.
type helpError string

func (helpError) Error() string { return "help" }

// usageError is a mistake in the command line.
type usageError struct {
	text string
	of   string // words of the command line whose -h shows the usage: the program, and the command
}

func (e usageError) Error() string { return e.text }

// parse returns the command and the settings from args, or a helpError or
// usageError. After an error the settings have the flags that were parsed
// before.
func (p *Program) parse(args []string) (settings, *Command, error) {
	commands := p.commands()
	cfg := settings{transports: transports(), logLevel: slog.LevelWarn}
	flags := p.flags(p.Name, &cfg)
	if err := parseFlags(flags, args, func() string { return p.help(commands) }); err != nil {
		return cfg, nil, err
	}
	if flags.NArg() == 0 {
		return cfg, nil, usageError{"a command is missing: the commands are " + names(commands), p.Name}
	}
	i := slices.IndexFunc(commands, func(c *Command) bool { return c.Name == flags.Arg(0) })
	if i < 0 {
		return cfg, nil, usageError{fmt.Sprintf("unknown command %q: the commands are %s", flags.Arg(0), names(commands)), p.Name}
	}
	c := commands[i]
	err := p.parseCommand(c, flags.Args()[1:], &cfg)
	return cfg, c, err
}

// parseCommand parses the arguments after the name of a command.
func (p *Program) parseCommand(c *Command, args []string, cfg *settings) error {
	// The flags before the command are also allowed after it.
	flags := p.flags(p.Name+" "+c.Name, cfg)
	if c.Flags != nil {
		c.Flags(flags)
	}
	if err := parseFlags(flags, args, func() string { return p.helpOf(c) }); err != nil {
		return err
	}
	err := checkOrder(flags, args)
	if err == nil && p.Check != nil {
		err = p.Check()
	}
	switch {
	case err != nil:
	case c.Parse != nil:
		err = c.Parse(flags.Args())
	case flags.NArg() > 0:
		err = errors.New(c.Name + " has no arguments")
	}
	if err != nil {
		return usageError{err.Error(), flags.Name()}
	}
	return nil
}

// checkOrder returns an error if a flag is behind an argument. There the flag
// would be an argument too, for example the name of a file. Behind "--" this is
// intended.
func checkOrder(flags *flag.FlagSet, args []string) error {
	if before := len(args) - flags.NArg(); before > 0 && args[before-1] == "--" {
		return nil
	}
	for _, arg := range flags.Args() {
		name, ok := strings.CutPrefix(arg, "-")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
		if name == "h" || name == "help" || flags.Lookup(name) != nil {
			return fmt.Errorf("%s is behind an argument: flags go before them, and -- before arguments that look like flags", arg)
		}
	}
	return nil
}

// commands returns the commands of the program, and ping.
func (p *Program) commands() []*Command { return append(slices.Clip(p.Commands), ping(p.Name)) }

// flags returns the flags that all commands have.
func (p *Program) flags(name string, cfg *settings) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are reported by exit, and only once
	flags.StringVar(&cfg.plugin, "plugin", cfg.plugin, fmt.Sprintf("`path` of the plugin (default %s beside this program, then in $PATH)", p.plugin()))
	flags.Func("transports", "`list` of transports to offer, most preferred first (default "+listOf(transports())+")", func(s string) (err error) {
		cfg.transports, err = selectTransports(s)
		return err
	})
	flags.BoolVar(&cfg.json, "json", cfg.json, "print JSON objects, one on each line")
	flags.Func("log-level", "lowest `level` of log lines on stderr: debug, info, warn or error (default warn)", func(s string) error {
		if cfg.logLevel.UnmarshalText([]byte(s)) != nil {
			return errors.New("want debug, info, warn or error")
		}
		return nil
	})
	if p.Flags != nil {
		p.Flags(flags)
	}
	return flags
}

// parseFlags parses args. It turns a request for help into a helpError, and any
// mistake into a usageError.
func parseFlags(flags *flag.FlagSet, args []string, help func() string) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		var text strings.Builder
		text.WriteString(help() + "\nFlags:\n")
		flags.SetOutput(&text)
		flags.PrintDefaults()
		return helpError(text.String())
	case err != nil:
		return usageError{err.Error(), flags.Name()}
	default:
		return nil
	}
}

// CheckText returns an error unless text is UTF-8, because all strings in
// messages are UTF-8. A call with any other string fails without naming it.
func CheckText(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%q is not UTF-8", text)
	}
	return nil
}

// help returns the program's help text, up to the flags.
func (p *Program) help(commands []*Command) string {
	var text strings.Builder
	for i, c := range commands {
		prefix := "usage:"
		if i > 0 {
			prefix = "      "
		}
		fmt.Fprintf(&text, "%s %s\n", prefix, p.synopsis(c))
	}
	fmt.Fprintf(&text, "\n%s\n\n", p.About)
	width := 0
	for _, c := range commands {
		width = max(width, len(c.Name))
	}
	for _, c := range commands {
		fmt.Fprintf(&text, "  %-*s  %s\n", width, c.Name, c.Summary)
	}
	fmt.Fprintf(&text, `
"%s %s -h" explains %[2]s, and so on.

The host uses the first of -transports that works: unix, quic or
tcp. It prints the connection, and why it skipped earlier transports.

Exit codes: 0 done, 1 failure (without a message if stdout was closed early),
2 wrong usage. Errors are printed on stderr.

With -json each line of stdout is one JSON object with a "type".
The first is the "connection". The command's objects follow, and an "error"
is the last object.
`, p.Name, commands[0].Name)
	return text.String()
}

// helpOf returns the command's help text, up to the flags.
func (p *Program) helpOf(c *Command) string {
	return fmt.Sprintf("usage: %s\n\n%s", p.synopsis(c), c.Help)
}

func (p *Program) synopsis(c *Command) string {
	return strings.TrimSpace(fmt.Sprintf("%s [flags] %s [flags] %s", p.Name, c.Name, c.Args))
}

// names returns the names of the commands in the form for a sentence: a, b and
// c.
func names(commands []*Command) string {
	list := make([]string, len(commands))
	for i, c := range commands {
		list[i] = c.Name
	}
	last := len(list) - 1
	if last == 0 {
		return list[0]
	}
	return strings.Join(list[:last], ", ") + " and " + list[last]
}
