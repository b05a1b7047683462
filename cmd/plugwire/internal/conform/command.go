package conform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// Report is the result of a run, in JSON.
type Report struct {
	Kind          string   `json:"kind"`
	Command       []string `json:"command"`
	Profile       string   `json:"profile"`
	Passed        int      `json:"passed"`
	Failed        int      `json:"failed"`
	Errors        int      `json:"errors"`
	NotApplicable int      `json:"not_applicable"`
	Seconds       float64  `json:"seconds"`
	Results       []Result `json:"results"`
}

// New returns the command, with one below it for each suite.
func New(out *output.Printer, suites ...*Suite) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conform",
		Short: "Check a plugin or a host in any language against the protocol",
		Long: `Conform starts a program again and again, does to it what the protocol allows and what
it does not, and reports by rule what the program does wrong.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return output.Usage("conform %s: want one of %s", args[0], kinds(suites))
			}
			return output.Usage("conform: want one of %s", kinds(suites))
		},
	}
	for _, s := range suites {
		cmd.AddCommand(newCommand(out, s))
	}
	return cmd
}

func kinds(suites []*Suite) string {
	var names []string
	for _, s := range suites {
		names = append(names, s.Kind)
	}
	return strings.Join(names, ", ")
}

// command has the flags of a command.
type command struct {
	out      *output.Printer
	suite    *Suite
	profile  string
	run      string
	junit    string
	list     bool
	parallel int
	env      []string
	dir      string
}

// newCommand returns the command for one suite.
func newCommand(out *output.Printer, s *Suite) *cobra.Command {
	c := &command{out: out, suite: s}
	cmd := &cobra.Command{
		Use:   s.Kind + " [flags] -- COMMAND [ARGUMENT...]",
		Short: "Check a " + s.Kind,
		Long: s.Long + `

The report has a line for each rule, by the section of the page that it comes from. Exit
codes: 0 no rule is broken; 1 a rule is broken; 2 the command line is wrong; 3 the
program cannot be started, or a check could not be made; 130 interrupted.`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.main(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.profile, "profile", "full", "`name` of what the program claims to be: "+strings.Join(profileNames, ", "))
	flags.StringVar(&c.run, "run", "", "check only the rules whose identifiers match this regular `expression`")
	flags.StringVar(&c.junit, "junit", "", "`file` for the report as JUnit's XML")
	flags.BoolVar(&c.list, "list", false, "list the rules, and check nothing")
	flags.IntVar(&c.parallel, "parallel", max(2, runtime.GOMAXPROCS(0)), "how many checks run at once")
	flags.StringArrayVar(&c.env, "env", nil, "variable for the program's environment, as `NAME=VALUE`; may be repeated")
	flags.StringVar(&c.dir, "dir", "", "working `directory` of the program")
	if s.Flags != nil {
		s.Flags(flags)
	}
	return cmd
}

func (c *command) main(ctx context.Context, args []string) error {
	runner := &Runner{Suite: c.suite, Command: args, Env: c.env, WorkDir: c.dir, Parallel: c.parallel}
	var err error
	if runner.Profile, err = ParseProfile(c.profile); err != nil {
		return output.Usage("-profile: %v", err)
	}
	if c.run != "" {
		if runner.Select, err = regexp.Compile(c.run); err != nil {
			return output.Usage("-run: %v", err)
		}
	}
	for _, entry := range c.env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" {
			return output.Usage("-env %q: want NAME=VALUE", entry)
		}
	}
	if c.parallel < 1 {
		return output.Usage("-parallel %d: want at least 1", c.parallel)
	}
	if len(runner.Rules()) == 0 {
		return output.Usage("-run %q: no rule of profile %s matches", c.run, c.profile)
	}
	if c.list {
		return c.listRules(runner.Rules())
	}
	if len(args) == 0 {
		return output.Usage("no program is named: give its command after --")
	}
	if err := c.checkDir(); err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		path, err = filepath.Abs(path) // the program may have another working directory
	}
	if err != nil {
		return &output.Error{Code: output.ExitStart, Err: err}
	}
	runner.Command = append([]string{path}, args[1:]...)
	if c.suite.Prepare != nil {
		if err := c.suite.Prepare(runner.Command); err != nil {
			return err
		}
	}
	if c.junit == "" {
		return c.report(ctx, runner, nil)
	}
	return c.reportWithJUnit(ctx, runner)
}

// reportWithJUnit does what report does, and writes the report for CI systems. A run takes
// minutes, so it finds out before the run whether the report can be written.
func (c *command) reportWithJUnit(ctx context.Context, runner *Runner) error {
	file, err := os.Create(c.junit)
	if err != nil {
		return output.Usage("-junit: %v", err)
	}
	written := false
	err = c.report(ctx, runner, func(report *Report) error {
		written = true
		return writeJUnit(file, report)
	})
	closeErr := file.Close()
	if !written { // an empty file would be a malformed report
		closeErr = errors.Join(closeErr, os.Remove(c.junit))
	}
	if closeErr != nil {
		return errors.Join(err, closeErr)
	}
	return err
}

// checkDir checks the working directory of the program.
func (c *command) checkDir() error {
	if c.dir == "" {
		return nil
	}
	info, err := os.Stat(c.dir)
	if err != nil {
		return output.Usage("-dir: %v", err)
	}
	if !info.IsDir() {
		return output.Usage("-dir %s: not a directory", c.dir)
	}
	return nil
}

// report runs the rules, prints the results, and gives the report to write, which may be nil.
func (c *command) report(ctx context.Context, runner *Runner, write func(*Report) error) error {
	var failed error // the first error of the output
	runner.Begun = func(r *Rule, ended, all int) { c.out.Progress("%d of %d: %s", ended, all, r.ID()) }
	if !c.out.JSON {
		runner.Done = func(result Result) {
			if failed == nil {
				failed = c.out.Marked(result.text(c.mark))
			}
		}
	}
	begun := time.Now()
	results, err := runner.Run(ctx)
	c.out.Progress("")
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	report := &Report{Kind: c.suite.Kind, Command: runner.Command, Profile: c.profile, Results: results, Seconds: time.Since(begun).Seconds()}
	for _, r := range results {
		switch r.State {
		case Pass:
			report.Passed++
		case Failed:
			report.Failed++
		case NotMeant:
			report.NotApplicable++
		case Broken:
			report.Errors++
		}
	}
	if write != nil {
		if err := write(report); err != nil {
			return err
		}
	}
	if c.out.JSON {
		err = c.out.Object(report)
	} else {
		err = c.out.Textf("profile %s: %d passed, %d failed, %d not checked, %d not applicable\n", c.profile, report.Passed, report.Failed, report.Errors, report.NotApplicable)
	}
	switch {
	case err != nil:
		return err
	case report.Failed > 0:
		return output.Found("a rule is broken")
	case report.Errors > 0:
		return &output.Error{Code: output.ExitStart, Err: errors.New("a check could not be made"), Printed: true}
	}
	return nil
}

// mark returns the word for a state, with its color.
func (c *command) mark(s State) string {
	word := fmt.Sprintf("%-5s", s)
	switch s {
	case Pass:
		return c.out.Good(word)
	case Failed, Broken:
		return c.out.Bad(word)
	default:
		return word
	}
}

// ruleObject is a rule in JSON.
type ruleObject struct {
	Rule     string   `json:"rule"`
	Title    string   `json:"title"`
	Profiles []string `json:"profiles"`
}

func (c *command) listRules(rules []*Rule) error {
	for _, r := range rules {
		var err error
		if c.out.JSON {
			err = c.out.Object(ruleObject{r.ID(), r.Title, strings.Split(r.profiles().String(), ",")})
		} else {
			err = c.out.Textf("%-34s  %-22s  %s\n", r.ID(), r.profiles(), r.Title)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
