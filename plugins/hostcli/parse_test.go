package hostcli

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// parseResult is the result of parsing a command line.
type parseResult struct {
	settings

	command, dir, file string
	loud               bool
}

// parseArgs parses a command line of a program with a flag, and with a command
// that has a flag and an argument and one that has none.
func parseArgs(args string) (got parseResult, err error) {
	p := &Program{
		Name:          "sample-host",
		About:         "Samples.",
		PluginPackage: "example.org/sample/cmd/sample-plugin",
		Flags:         func(flags *flag.FlagSet) { flags.StringVar(&got.dir, "dir", got.dir, "`directory`") },
		Check: func() error {
			if got.dir == "/" {
				return errors.New("-dir / is too much")
			}
			return nil
		},
		Commands: []*Command{
			{
				Name: "get", Args: "FILE", Summary: "get a file", Help: "Gets a file.\n",
				Flags: func(flags *flag.FlagSet) { flags.BoolVar(&got.loud, "loud", false, "be loud") },
				Parse: func(args []string) error {
					if len(args) != 1 {
						return fmt.Errorf("get needs one FILE, and has %d", len(args))
					}
					got.file = args[0]
					return nil
				},
			},
			{Name: "list", Summary: "list files", Help: "Lists files.\n"},
		},
	}
	cfg, c, err := p.parse(strings.Fields(args))
	if err == nil {
		got.command = c.Name
	}
	got.settings = cfg
	return got, err
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		args string
		want parseResult
	}{
		{"defaults", "list", parseResult{command: "list"}},
		{
			"flags before the command", "-plugin P -json -log-level debug -dir D list",
			parseResult{settings: settings{plugin: "P", json: true, logLevel: slog.LevelDebug}, command: "list", dir: "D"},
		},
		{
			"flags after the command", "list -plugin P -json -log-level error -dir D",
			parseResult{settings: settings{plugin: "P", json: true, logLevel: slog.LevelError}, command: "list", dir: "D"},
		},
		{"the later flag counts", "-plugin P -dir D list -plugin Q -dir E", parseResult{settings: settings{plugin: "Q"}, command: "list", dir: "E"}},
		{"flag and argument of its own", "get -loud F", parseResult{command: "get", loud: true, file: "F"}},
		{"one transport", "-transports tcp list", parseResult{settings: settings{transports: transport.Set{tcp.New()}}, command: "list"}},
		{
			"transports in another order", "list -transports quic,unix",
			parseResult{settings: settings{transports: transport.Set{quic.New(), unix.New()}}, command: "list"},
		},
		{"ping is there", "ping -count 7", parseResult{command: "ping"}},
		{"argument that looks like a flag", "get -- -loud", parseResult{command: "get", file: "-loud"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseArgs(tt.args)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.transports == nil {
				tt.want.transports = transport.Set{unix.New(), quic.New(), tcp.New()}
			}
			if !strings.Contains(tt.args, "-log-level") {
				tt.want.logLevel = slog.LevelWarn
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(parseResult{}, settings{}), cmp.Transformer("names", listOf)); diff != "" {
				t.Errorf("command line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseUsageErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "a command is missing: the commands are get, list and ping"},
		{"-json", "a command is missing"},
		{"frobnicate", `unknown command "frobnicate": the commands are get, list and ping`},
		{"-x list", "flag provided but not defined: -x"},
		{"-loud get F", "flag provided but not defined: -loud"},
		{"-log-level loud list", `invalid value "loud" for flag -log-level: want debug, info, warn or error`},
		{"list FILE", "list has no arguments"},
		{"get", "get needs one FILE, and has 0"},
		{"-transports udp list", `unknown transport "udp": the transports are unix,quic,tcp`},
		{"-transports unix, list", `unknown transport "": the transports are unix,quic,tcp`},
		{"-transports unix,unix list", "duplicate transport unix: the transports are unix,quic,tcp"},
		{"ping -count x", "want a number from 1 to 1000000"},
		{"ping -count 0", "want a number from 1 to 1000000"},
		{"ping -count 1000001", "want a number from 1 to 1000000"},
		{"list -dir", "flag needs an argument: -dir"},
		{"-dir / list", "-dir / is too much"},
		{"get -dir / F", "-dir / is too much"},
		{"get F -loud", "-loud is behind an argument: flags go before them, and -- before arguments that look like flags"},
		{"get F --json=false", "--json=false is behind an argument"},
		{"get F -h", "-h is behind an argument"},
		{"get F -1", "get needs one FILE, and has 2"},
		{"get F -", "get needs one FILE, and has 2"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parseArgs(tt.args)
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a usage error with %q", err, tt.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, tt := range []struct{ args, begin, flag string }{
		{"-h", "usage: sample-host [flags] get [flags] FILE\n       sample-host [flags] list [flags]\n       sample-host [flags] ping [flags]\n\nSamples.\n\n  get   get a file\n", "-dir directory"},
		{"get -h", "usage: sample-host [flags] get [flags] FILE\n\nGets a file.\n\nFlags:\n", "-loud"},
		{"list -help", "usage: sample-host [flags] list [flags]\n\nLists files.\n\nFlags:\n", "-json"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parseArgs(tt.args)
			var help helpError
			if !errors.As(err, &help) || !strings.HasPrefix(string(help), tt.begin) || !strings.Contains(string(help), tt.flag) {
				t.Errorf("error %v, help:\n%s", err, help)
			}
		})
	}
}

// The hint names the help text that explains the mistake.
func TestUsageHint(t *testing.T) {
	for args, want := range map[string]string{
		"":         "sample-host",
		"-x":       "sample-host",
		"frob":     "sample-host",
		"get":      "sample-host get",
		"get -x F": "sample-host get",
	} {
		_, err := parseArgs(args)
		var stderr strings.Builder
		s := &Session{program: &Program{Name: "sample-host"}, stderr: &stderr}
		if code := s.exit(err); code != exitUsage || !strings.HasSuffix(stderr.String(), "\n"+want+" -h shows the usage\n") {
			t.Errorf("%q: exit code %d, stderr %q", args, code, stderr.String())
		}
	}
}
