// Command bench measures Plugwire beside raw sockets and other frameworks: a host and a
// plugin as two processes, the same work for all, on one machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
	"github.com/plugwire/plugwire/bench/internal/report"
)

// These are the exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

const (
	defaultRounds = 5
	defaultSlice  = 200 * time.Millisecond
	quickSlice    = 20 * time.Millisecond
)

// config is what the user wants.
type config struct {
	rounds      int
	slice       time.Duration
	only, parts *regexp.Regexp
	asJSON      bool
	page        string // file to write the tables into
	profile     string // prefix of profiles
	programs    string // directory of plugins that are built already
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var code int
	if len(os.Args) == 3 && os.Args[1] == workerArgument {
		code = work(ctx, os.Args[2])
	} else {
		code = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	os.Exit(code)
}

// run is the command. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, list, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	case list:
		_, err = io.WriteString(stdout, listing())
	default:
		err = compare(ctx, cfg, stdout, stderr)
	}
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	default:
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (cfg config, list bool, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "measure only peers whose name matches this `regexp`; ^(a|b)$ for whole names")
	parts := flags.String("parts", "", "measure only parts whose name matches this `regexp`")
	quick := flags.Bool("quick", false, "one short round: it shows that everything works, and measures nothing")
	flags.IntVar(&cfg.rounds, "rounds", defaultRounds, "how often each part of each peer is measured")
	flags.DurationVar(&cfg.slice, "slice", defaultSlice, "how long one measurement lasts")
	flags.BoolVar(&list, "list", false, "list peers and parts")
	flags.BoolVar(&cfg.asJSON, "json", false, "print an object for each figure of each peer, one on each line, instead of tables")
	flags.StringVar(&cfg.page, "write", "", "also write the tables into this Markdown `file`, between its marks")
	flags.StringVar(&cfg.programs, "programs", "", "`directory` with the plugins' programs, such as those of another commit; without it bench builds them")
	flags.StringVar(&cfg.profile, "profile", "", "write processor profiles to files whose names begin with this `prefix`")
	flags.Usage = func() {
		_, _ = fmt.Fprint(stderr, "usage: go run ./bench/cmd/bench [flags]\n\nMeasures Plugwire beside other frameworks, and prints medians, ranges and ratios.\n"+
			"Run it where nothing else runs, and compare ratios. -list shows what it measures.\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return cfg, false, err
	}
	if *quick {
		cfg.rounds, cfg.slice = 1, quickSlice
	}
	if flags.NArg() > 0 || cfg.rounds < 1 || cfg.slice <= 0 {
		return cfg, false, errors.New("an argument, -rounds or -slice is not valid; -h explains the flags")
	}
	if cfg.only, err = regexp.Compile(*only); err != nil {
		return cfg, false, err
	}
	cfg.parts, err = regexp.Compile(*parts)
	return cfg, list, err
}

// listing names peers and parts.
func listing() string {
	var b strings.Builder
	b.WriteString("peers:\n")
	for _, p := range peers.All() {
		fmt.Fprintf(&b, "  %-26s %s\n", p.Name, p.Note)
	}
	b.WriteString("parts:\n")
	for _, p := range measure.Parts {
		fmt.Fprintln(&b, "  "+p.Name)
	}
	return b.String()
}

// compare measures and reports. A peer that fails does not stop the others.
func compare(ctx context.Context, cfg config, stdout, stderr io.Writer) error {
	results, facts, failed := measureAll(ctx, cfg, stderr)
	if err := ctx.Err(); err != nil {
		return err
	}
	if results == nil {
		return failed
	}
	if cfg.asJSON {
		return errors.Join(results.WriteJSON(stdout), failed)
	}
	text := facts + "\n\n" + results.Markdown()
	_, err := fmt.Fprintln(stdout, text)
	if cfg.page != "" && failed == nil {
		err = errors.Join(err, report.Write(cfg.page, text))
	}
	return errors.Join(err, failed)
}

// workerArgument is the first argument when bench starts itself to measure one part.
const workerArgument = "worker"

// job is the second.
type job struct {
	Peer, Part string
	Config     measure.Config
	Lossy      bool // whether to make the network lose packets first
}

// work measures one part and prints its values.
func work(ctx context.Context, arg string) int {
	values, err := doJob(ctx, arg)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(values)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}

func doJob(ctx context.Context, arg string) (measure.Values, error) {
	var j job
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return nil, err
	}
	if j.Lossy {
		if err := losePackets(ctx); err != nil {
			return nil, err
		}
	}
	if j.Peer == "" { // a test of the network
		return measure.Values{}, nil
	}
	peer, part := peers.Find(j.Peer), measure.FindPart(j.Part)
	if peer == nil || part == nil {
		return nil, fmt.Errorf("no peer %q or no part %q", j.Peer, j.Part)
	}
	return measure.Run(ctx, peer, part, j.Config)
}
