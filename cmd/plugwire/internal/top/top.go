// Package top is the command that shows the plugins of the running hosts of a user, as a live
// table or on a page.
package top

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/hosts"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// command has the flags of the command.
type command struct {
	out      *output.Printer
	interval time.Duration
	count    int
	sort     string
	all      bool
	dir      string
	http     string
	remote   bool

	finder  *hosts.Finder
	sampler sampler
}

const (
	defaultInterval = 2 * time.Second
	// minInterval keeps a mistake from keeping hosts busy.
	minInterval = 100 * time.Millisecond
	// firstInterval is the longest time until the first table. Rates need two samples.
	firstInterval = 500 * time.Millisecond
)

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	names := slices.Sorted(maps.Keys(orders))
	cmd := &cobra.Command{
		Use:   "top [flags]",
		Short: "Show the plugins of all running hosts: state, calls, processor time and memory",
		Long: `Top shows the plugins of the running hosts of this user that have the option
host.WithStatus, until Ctrl-C. Rates and quantiles are of the time since the last table.
Off a terminal, and with -n, it prints one table after the other.`,
		Example: `  plugwire top
  plugwire top -sort cpu -interval 5s
  plugwire top -n 1 -json
  plugwire top -http localhost:0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return output.Usage("top takes no arguments")
			case orders[c.sort] == nil:
				return output.Usage("-sort %s: want one of %s", c.sort, strings.Join(names, ", "))
			case c.interval < minInterval:
				return output.Usage("-interval %v: want at least %v", c.interval, minInterval)
			case c.count < 0:
				return output.Usage("-n %d: want at least 1, or 0 for no end", c.count)
			case c.http != "" && (c.count > 0 || c.out.JSON):
				return output.Usage("-http shows a page, and -n and -json are for the table")
			case c.http == "" && c.remote:
				return output.Usage("-allow-remote is for -http")
			}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().DurationVar(&c.interval, "interval", defaultInterval, "time between two tables")
	cmd.Flags().IntVarP(&c.count, "n", "n", 0, "how many tables to print; 0 is no end")
	cmd.Flags().StringVar(&c.sort, "sort", "host", "column to sort by: "+strings.Join(names, ", "))
	cmd.Flags().BoolVar(&c.all, "all", false, "also show plugins that ended more than a minute ago")
	cmd.Flags().StringVar(&c.dir, "dir", "", "directory with the sockets of the hosts, for example another user's for root")
	cmd.Flags().StringVar(&c.http, "http", "", "serve a page at this address instead, such as localhost:0")
	cmd.Flags().BoolVar(&c.remote, "allow-remote", false, "with -http: listen on addresses that other machines reach")
	return cmd
}

func (c *command) run(ctx context.Context) error {
	var err error
	if c.finder, err = hosts.NewFinder(c.dir); err != nil {
		return &output.Error{Code: output.ExitFailed, Err: err}
	}
	defer c.finder.Close()
	c.sampler.all = c.all
	if c.http != "" {
		return c.servePage(ctx)
	}
	if c.out.Terminal() && c.count == 0 {
		return c.live(ctx)
	}
	return c.eachSample(ctx, c.print)
}

// eachSample calls show with a sample at each interval, count times or until ctx ends, which
// is not an error: a person has ended the command.
func (c *command) eachSample(ctx context.Context, show func(*Sample) error) error {
	if _, err := c.next(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	for shown, wait := 0, min(c.interval, firstInterval); c.count == 0 || shown < c.count; shown, wait = shown+1, c.interval {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		s, err := c.next(ctx)
		if err == nil {
			err = show(s)
		}
		if err != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the user has ended it
	}
	return err
}

// next makes a sample.
func (c *command) next(ctx context.Context) (*Sample, error) {
	answers, err := c.finder.ReadAll(ctx)
	if err != nil {
		return nil, err
	}
	s := c.sampler.sample(answers, time.Now())
	s.sort(c.sort)
	return s, nil
}

// print prints a sample after the last one.
func (c *command) print(s *Sample) error {
	if c.out.JSON {
		return c.out.Object(s)
	}
	return c.out.Text(table(s))
}

// noHosts is what a person may want to know where there is nothing to see.
const noHosts = "no host of this user shows its plugins (host.WithStatus)"

// table returns a sample as a table, with its problems below.
func table(s *Sample) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, r := range s.Plugins {
		cells := r.cells()
		for i, text := range cells {
			cells[i] = oneCell(text)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
	if len(s.Plugins) == 0 && len(s.Problems) == 0 {
		b.WriteString(noHosts + "\n")
	}
	for _, p := range s.Problems {
		_, _ = fmt.Fprintf(&b, "%s: %s\n", p.Socket, oneLine(p.Error))
	}
	return b.String()
}

// oneLine returns text without line ends, tabs and control characters.
func oneLine(text string) string { return strings.Join(strings.Fields(output.Safe(text)), " ") }

// maxCell bounds the characters of a cell: a host decides what it calls itself.
const maxCell = 40

// oneCell returns text that fits into a cell.
func oneCell(text string) string {
	runes := []rune(oneLine(text))
	if len(runes) > maxCell {
		return string(runes[:maxCell-1]) + "…"
	}
	return string(runes)
}
