// Package logs is the command that shows what the plugins of the running hosts of a user log.
package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/hosts"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// command has the flags of the command.
type command struct {
	out    *output.Printer
	follow bool
	since  string
	level  string
	dir    string
	names  []string // hosts and plugins to show; empty for all

	from    time.Time // of the first record to show; zero for all
	lowest  slog.Level
	finder  *hosts.Finder
	printed sync.Mutex // held while a record is printed
}

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	cmd := &cobra.Command{
		Use:   "logs [flags] [HOST|PLUGIN...]",
		Short: "Show the last log records of plugins of running hosts, and those to come",
		Long: `Logs shows the last log records of the plugins of running hosts of this user that have the
option host.WithStatus, the oldest first. HOST and PLUGIN are names or numbers of processes.`,
		Example: `  plugwire logs
  plugwire logs -f words
  plugwire logs -level warn -since 10m`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c.names = args
			if c.from, err = parseSince(c.since, time.Now()); err != nil {
				return err
			}
			if err := c.lowest.UnmarshalText([]byte(c.level)); err != nil {
				return output.Usage("-level %s: want debug, info, warn or error", c.level)
			}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&c.follow, "follow", "f", false, "go on with the records to come, until Ctrl-C")
	cmd.Flags().StringVar(&c.since, "since", "", "leave out older records: a duration such as 10m, or a time such as 2006-01-02T15:04:05Z")
	cmd.Flags().StringVar(&c.level, "level", "debug", "lowest level to show: debug, info, warn, error")
	cmd.Flags().StringVar(&c.dir, "dir", "", "directory with the sockets of the hosts, for example another user's for root")
	return cmd
}

// parseSince returns the time that -since means; zero for none.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, output.Usage("-since %s: want a duration such as 10m, or a time such as %s", text, now.Format(time.RFC3339))
	}
	return t, nil
}

// origin is the host that a record is of.
type origin struct {
	name string
	pid  int
}

// record is a record with its host. Its JSON is the interface of -json: fields are only
// added.
type record struct {
	Host    string          `json:"host"`
	HostPID int             `json:"host_pid"`
	Time    time.Time       `json:"time"`
	Level   string          `json:"level"`
	Plugin  string          `json:"plugin"`
	PID     int             `json:"pid,omitempty"`
	Message string          `json:"msg"`
	Attrs   json.RawMessage `json:"attrs,omitempty"`
}

func (c *command) run(ctx context.Context) error {
	var err error
	if c.finder, err = hosts.NewFinder(c.dir); err != nil {
		return &output.Error{Code: output.ExitFailed, Err: err}
	}
	defer c.finder.Close()
	answers, err := c.finder.ReadAll(ctx)
	if err != nil {
		return c.end(ctx, err)
	}
	if !c.follow && len(answers) == 0 {
		c.out.Note("no host of this user shows its plugins (host.WithStatus)")
	}
	if !c.follow && !c.known(answers) {
		return &output.Error{Code: output.ExitFailed, Err: fmt.Errorf("no running host or plugin is called %s", strings.Join(c.names, " or "))}
	}
	if c.follow {
		return c.end(ctx, c.followAll(ctx))
	}
	return c.end(ctx, c.recent(ctx, answers))
}

// end returns the error of the command. A person ends it with Ctrl-C, which is not an error.
func (c *command) end(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the user has ended it
	}
	return err
}

// known reports whether a host or a plugin has one of the names, or could have.
func (c *command) known(answers []hosts.Answer) bool {
	if len(c.names) == 0 {
		return true
	}
	return slices.ContainsFunc(answers, func(a hosts.Answer) bool {
		return a.Err != nil || c.isNamed(a.Report.Host.Name, a.Report.Host.PID) ||
			slices.ContainsFunc(a.Report.Plugins, func(p hosts.Plugin) bool { return c.isNamed(p.Name, p.PID) })
	})
}

func (c *command) isNamed(name string, pid int) bool {
	return slices.Contains(c.names, name) || pid > 0 && slices.Contains(c.names, strconv.Itoa(pid))
}

// wants reports whether the command shows a record.
func (c *command) wants(o origin, r hosts.Record) bool {
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.Level)); err == nil && level < c.lowest { // a level of another kind is shown
		return false
	}
	if !c.from.IsZero() && r.Time.Before(c.from) {
		return false
	}
	return len(c.names) == 0 || c.isNamed(o.name, o.pid) || c.isNamed(r.Plugin, r.PID)
}

// recent shows the records that all hosts have kept, in the order of their times.
func (c *command) recent(ctx context.Context, answers []hosts.Answer) error {
	var all []record
	for _, a := range answers {
		err := a.Err
		if err == nil {
			o := origin{a.Report.Host.Name, a.Report.Host.PID}
			err = a.Log(ctx, false, func(r hosts.Record) error {
				if c.wants(o, r) {
					all = append(all, newRecord(o, r))
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, hosts.ErrGone) {
			c.out.Note("%s: %v", a.Path, err)
		}
	}
	slices.SortStableFunc(all, func(a, b record) int { return a.Time.Compare(b.Time) })
	for _, r := range all {
		if err := c.print(r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func newRecord(o origin, r hosts.Record) record {
	return record{o.name, o.pid, r.Time, r.Level, r.Plugin, r.PID, r.Message, r.Attrs}
}

// lookInterval is how often a command that follows looks for new hosts.
const lookInterval = time.Second

// followAll follows the hosts that there are and those to come, until ctx ends or standard
// output cannot be written.
func (c *command) followAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &follower{command: c, active: make(map[string]bool), seen: make(map[string]uint64), noted: make(map[string]bool)}
	defer f.following.Wait()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		found, err := c.finder.Find()
		if err != nil {
			cancel(err)
			return err
		}
		for _, h := range found {
			f.start(ctx, cancel, h)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follower follows hosts.
type follower struct {
	*command
	following sync.WaitGroup

	mu     sync.Mutex        // guards the fields below
	active map[string]bool   // hosts that are followed, by path
	seen   map[string]uint64 // the last record of a host
	noted  map[string]bool   // hosts whose error was shown
}

// start follows a host, if it is not followed. fail ends the command.
func (f *follower) start(ctx context.Context, fail context.CancelCauseFunc, h *hosts.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active[h.Path] {
		return
	}
	f.active[h.Path] = true
	f.following.Go(func() {
		err := f.follow(ctx, fail, h)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.active, h.Path)
		if err != nil && !errors.Is(err, hosts.ErrGone) && !errors.Is(err, hosts.ErrCut) && ctx.Err() == nil && !f.noted[h.Path] {
			f.noted[h.Path] = true
			f.out.Note("%s: %v", h.Path, err)
		}
	})
}

// follow follows a host until it ends. A host that has cut this reader off, because nothing
// read the output of the command, goes on where it was.
func (f *follower) follow(ctx context.Context, fail context.CancelCauseFunc, h *hosts.Host) error {
	report, err := h.Read(ctx)
	if err != nil {
		return err
	}
	o := origin{report.Host.Name, report.Host.PID}
	f.mu.Lock()
	seen := f.seen[h.Path]
	f.mu.Unlock()
	// Numbers may be missing among the records that a host has kept, because it drops the old
	// ones of each plugin. Only a reader that was cut off has missed those after its last one,
	// until the host itself says what this connection has missed.
	cut := seen > 0
	err = h.Log(ctx, true, func(r hosts.Record) error {
		switch {
		case r.Missed > 0:
			f.noteMissing(o, r.Missed)
			cut = false
			return nil
		case r.Seq <= seen:
			return nil
		case cut && r.Seq > seen+1:
			f.noteMissing(o, r.Seq-seen-1)
		}
		seen = r.Seq
		if !f.wants(o, r) {
			return nil
		}
		if err := f.print(newRecord(o, r)); err != nil {
			fail(err)
			return err
		}
		return nil
	})
	f.mu.Lock()
	f.seen[h.Path] = seen
	f.mu.Unlock()
	return err
}

func (f *follower) noteMissing(o origin, records uint64) {
	f.out.Note("%s: %d records are missing, because the output was not read fast enough", o.name, records)
}

// print prints a record.
func (c *command) print(r record) error {
	if c.out.JSON {
		return c.out.Object(r)
	}
	c.printed.Lock()
	defer c.printed.Unlock()
	return c.out.Marked(c.line(r))
}

// line returns a record as a line for people. Lines of the message, such as a stack, follow
// with an indent.
func (c *command) line(r record) string {
	process := ""
	if r.PID > 0 {
		process = fmt.Sprintf("[%d]", r.PID)
	}
	level := fmt.Sprintf("%-5s", output.Safe(r.Level))
	switch {
	case strings.HasPrefix(r.Level, "ERROR"):
		level = c.out.Bad(level)
	case strings.HasPrefix(r.Level, "WARN"):
		level = c.out.Bold(level)
	}
	text := fmt.Sprintf("%s%s  %s%s", oneLine(r.Plugin), process, r.Message, attributes(r.Attrs))
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
	return r.Time.Local().Format("2006-01-02 15:04:05.000") + "  " + level + "  " + output.Safe(text) + "\n"
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// attributes returns the members of an object as people read them, in their order.
func attributes(object json.RawMessage) string {
	var b strings.Builder
	d := json.NewDecoder(bytes.NewReader(object))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return ""
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			break
		}
		text := string(value)
		var plain string
		if json.Unmarshal(value, &plain) == nil && plain != "" && !strings.ContainsAny(plain, " \"=\t\n") {
			text = plain
		}
		_, _ = fmt.Fprintf(&b, " %v=%s", name, text)
	}
	return b.String()
}
