// Package bench is the command that measures how fast a plugin answers, alone or beside
// another.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
)

// slice is how long one side is measured before the other one's turn. A machine that is
// slow for a while is then slow for both.
const slice = 200 * time.Millisecond

// maxCallers is how many callers are allowed: as many calls as a plugin serves at once by
// default (plugin.WithMaxCalls).
const maxCallers = 2048

// command has the flags of the command.
type command struct {
	out      *output.Printer
	target   target.Flags
	callers  int
	duration time.Duration
	warmup   time.Duration
	deadline time.Duration

	against          string
	againstWire      string
	againstTransport string
}

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	cmd := &cobra.Command{
		Use:   "bench [flags] PLUGIN [SERVICE/METHOD [JSON|@FILE]] [-- ARGUMENT...]",
		Short: "Measure how fast a plugin answers, alone or beside another",
		Long: `Bench calls a method again and again, and prints calls per second, the distribution of
their latencies, and what the plugin needs of processor and memory. Without a method it
asks for the health. The method takes one message; a stream of answers counts as one
call, until its end.

Each caller makes its next call when the last one has ended. Latencies are those of
calls that succeeded.

With -against it measures a second plugin, and with -against-wire or -against-transport
the same plugin another way. The two take turns, and the last column is the second
divided by the first.

` + target.Usage,
		Example: `  plugwire bench bin/hello-plugin
  plugwire bench -callers 64 -duration 30s bin/hello-plugin hello.Greeter/Greet '{"name":"Ada"}'
  plugwire bench -against ./new-plugin ./old-plugin
  plugwire bench -transport unix -against-transport quic bin/dataprocessor-plugin`,
		RunE: func(cmd *cobra.Command, args []string) error {
			split := target.Split(args, cmd.ArgsLenAtDash())
			ref, rest, err := split.Take(isMeasured)
			if err != nil {
				return err
			}
			switch {
			case len(rest) > 0 && !target.IsMethod(rest[0]):
				return output.Usage("%q is not the name of a method, such as pkg.Service/Method", rest[0])
			case len(rest) > 2:
				return output.Usage("%q is one argument too many: arguments of the plugin come after --", rest[2])
			case c.callers < 1 || c.callers > maxCallers:
				return output.Usage("-callers %d: want 1 to %d", c.callers, maxCallers)
			case c.duration <= 0 || c.warmup < 0 || c.deadline <= 0:
				return output.Usage("-duration and -deadline must be more than 0, and -warmup not less")
			}
			return c.run(cmd.Context(), ref, rest)
		},
	}
	c.target.Defaults.LogLevel = "error"
	c.target.Add(cmd.Flags())
	flags := cmd.Flags()
	flags.IntVar(&c.callers, "callers", 1, "how many callers call at the same time")
	flags.DurationVar(&c.duration, "duration", 5*time.Second, "how long each side is measured")
	flags.DurationVar(&c.warmup, "warmup", 500*time.Millisecond, "how long each side is called before that")
	flags.DurationVar(&c.deadline, "deadline", 10*time.Second, "how long a call may take")
	flags.StringVar(&c.against, "against", "", "a second `plugin` to compare with")
	flags.StringVar(&c.againstWire, "against-wire", "", "compare with the same plugin over this `wire`")
	flags.StringVar(&c.againstTransport, "against-transport", "", "compare with the same plugin over this `transport`")
	return cmd
}

// isMeasured reports whether the arguments before -- are complete without a plugin.
func isMeasured(before []string) bool {
	return len(before) == 0 || target.IsMethod(before[0]) && (len(before) == 1 || len(before) == 2 && !target.IsMethod(before[1]))
}

func (c *command) run(ctx context.Context, ref target.Ref, rest []string) (err error) {
	sides, err := c.sides(ref)
	if err != nil {
		return err
	}
	for _, s := range sides {
		if err := s.open(ctx, rest); err != nil {
			return errors.Join(err, closeAll(sides))
		}
	}
	defer func() { err = errors.Join(err, closeAll(sides)) }()
	for _, s := range sides {
		if err := s.load(ctx, c.warmup, nil); err != nil {
			return err
		}
	}
	rounds := max(1, int(math.Ceil(float64(c.duration)/float64(slice))))
	for round := range rounds {
		for i := range sides {
			s := sides[(round+i)%len(sides)] // another one is first each time
			if err := s.measure(ctx, c.duration/time.Duration(rounds)); err != nil {
				return err
			}
		}
	}
	report := Report{Method: sides[0].name, Callers: c.callers}
	failed := false
	for _, s := range sides {
		r := s.result()
		report.Sides = append(report.Sides, r)
		failed = failed || r.Errors > 0
	}
	if err := c.print(report); err != nil {
		return err
	}
	if failed {
		return output.Found("calls have failed")
	}
	return nil
}

func closeAll(sides []*side) error {
	var errs []error
	for _, s := range sides {
		if s.plugin != nil {
			errs = append(errs, s.plugin.Close())
		}
	}
	return errors.Join(errs...)
}

// sides returns what is measured: one or two.
func (c *command) sides(ref target.Ref) ([]*side, error) {
	first := c.newSide(ref, c.target)
	kinds := 0
	for _, flag := range []string{c.against, c.againstWire, c.againstTransport} {
		if flag != "" {
			kinds++
		}
	}
	second := c.newSide(ref, c.target)
	switch {
	case kinds == 0:
		return []*side{first}, nil
	case kinds > 1:
		return nil, output.Usage("only one of -against, -against-wire and -against-transport is possible")
	case c.against != "":
		other, err := target.Parse(c.against)
		if err != nil {
			return nil, err
		}
		second.ref = other
	case c.againstWire != "":
		second.flags.Wires = []string{c.againstWire}
	default:
		second.flags.Transports = []string{c.againstTransport}
	}
	return []*side{first, second}, nil
}

func (c *command) newSide(ref target.Ref, flags target.Flags) *side {
	return &side{command: c, ref: ref, flags: flags}
}

// shortName names a side at the head of its column.
func shortName(ref target.Ref) string {
	if ref.Attach != nil {
		return ref.String()
	}
	path, err := exec.LookPath(ref.Command[0])
	if err != nil {
		path = ref.Command[0]
	}
	return filepath.Base(path)
}

// milliseconds returns a duration in the unit of the JSON.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// micro returns a duration for people.
func micro(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", milliseconds(d))
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", milliseconds(d))
	default:
		return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
	}
}
