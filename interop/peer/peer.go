// Package peer is the command that the tests of interoperability run: one
// program for each framework, or each release of one, that is a plugin or a
// host.
//
//	PROGRAM plugin [-versions 1,2] [-linger 3s]
//	PROGRAM host [-versions 1,2] [-want 2] [-mtls] [-mux] [-checks a,b] COMMAND [ARGUMENT...]
//
// A host launches the command, which is a plugin of any framework, runs the
// checks and prints a line of JSON for each, a [Result]. It exits with 1 if one
// of them failed.
package peer

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/interop/peer/service"
)

// Main is the main function of such a program. It does not return.
func Main(framework Framework) {
	if len(os.Args) < 2 {
		usage("no role given")
	}
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	cfg := Config{Versions: []int{1}}
	flags.Func("versions", "the protocol `versions` that this side has, comma-separated (default 1)", func(s string) (err error) {
		cfg.Versions, err = parseVersions(s)
		return err
	})
	switch role := os.Args[1]; role {
	case "plugin":
		linger := flags.Duration("linger", 0, "how long the plugin takes to end when its host asks for it")
		_ = flags.Parse(os.Args[2:]) // Parse exits on an error
		framework.Serve(cfg.Versions, *linger)
		os.Exit(0)
	case "host":
		want := flags.Int("want", 0, "the `version` that both sides must choose, if not 0")
		checks := Checks
		flags.Func("checks", "the names of the `checks`, comma-separated (default all)", func(s string) (err error) {
			checks, err = parseChecks(s)
			return err
		})
		flags.BoolVar(&cfg.MutualTLS, "mtls", false, "demand mutual TLS with one-time certificates")
		flags.BoolVar(&cfg.Multiplex, "mux", false, "demand one connection for the plugin and its broker")
		_ = flags.Parse(os.Args[2:])
		if cfg.Command = flags.Args(); len(cfg.Command) == 0 {
			usage("no command of a plugin given")
		}
		if !host(framework, cfg, &session{want: *want, names: checks}) {
			os.Exit(1)
		}
		os.Exit(0)
	default:
		usage(fmt.Sprintf("unknown role %q", role))
	}
}

func usage(mistake string) {
	fmt.Fprintf(os.Stderr, "%s\nusage: %s plugin|host [flags] [command]\n", mistake, os.Args[0])
	os.Exit(2)
}

func parseVersions(list string) ([]int, error) {
	var versions []int
	for item := range strings.SplitSeq(list, ",") {
		version, err := strconv.Atoi(item)
		if err != nil {
			return nil, err
		}
		versions = append(versions, version)
	}
	return versions, nil
}

func parseChecks(list string) ([]string, error) {
	checks := strings.Split(list, ",")
	for _, check := range checks {
		if !slices.Contains(Checks, check) {
			return nil, fmt.Errorf("no check is called %q; there are %s", check, strings.Join(Checks, ", "))
		}
	}
	return checks, nil
}

// host reports whether all checks passed.
func host(framework Framework, cfg Config, s *session) bool {
	out := json.NewEncoder(os.Stdout)
	good := true
	s.host = framework.Host(cfg)
	s.run(context.Background(), func(r Result) {
		good = good && r.Status != Failed
		if err := out.Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			good = false
		}
	})
	return good
}

// A Framework is the framework that a program is built on.
type Framework interface {
	// Serve serves the service as a plugin until the host asks it to stop. Its
	// end then takes as long as linger.
	Serve(versions []int, linger time.Duration)
	Host(Config) Host
}

// Config is what the tests ask a host for.
type Config struct {
	Command   []string
	Versions  []int
	MutualTLS bool
	Multiplex bool
}

// A Host launches one command.
type Host interface {
	// Start launches it, with further arguments. The error is ErrUnsupported if
	// this host does not support the configuration.
	Start(ctx context.Context, args ...string) (Plugin, error)
	// Attach attaches to a plugin that was started by this host.
	Attach(context.Context, Plugin) (Plugin, error)
}

// A Plugin is a running plugin, through the host's framework.
type Plugin interface {
	service.Conn
	Broker
	Version() int
	PID() int
	Ping(context.Context) error
	// Stdout and Stderr return the plugin's output so far.
	Stdout() string
	Stderr() string
	// Records returns the plugin's log records so far.
	Records() []Record
	// Close stops it, and returns an error if it did not stop when asked.
	Close(context.Context) error
}

// A Broker is the host's side of a broker.
type Broker interface {
	NextID() uint32
	// Serve serves until stop is called. stop returns when the server is gone.
	// The context bounds only the start of serving.
	Serve(ctx context.Context, id uint32, handler service.Echoer) (stop func(), err error)
	Dial(ctx context.Context, id uint32) (conn service.Conn, closeConn func() error, err error)
}

// A Record is a line of a log.
type Record struct {
	Level   string // in lower-case letters
	Message string
	Fields  map[string]string
}
