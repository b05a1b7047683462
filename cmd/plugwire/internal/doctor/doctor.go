// Package doctor is the command that starts a plugin step by step, and says in a sentence
// what is wrong with it and what to do.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// startTimeout is how long the command waits for a plugin. A person waits for it, and a
// plugin that takes longer has something wrong with it.
const startTimeout = 15 * time.Second

// The states of a step.
const (
	stateOK      = "ok"
	stateWarning = "warning" // it works here, and will not under every host
	stateError   = "error"
)

// Step is one thing that was tried.
type Step struct {
	Name  string `json:"step"`
	State string `json:"state"`
	// Cause names the kind of what is wrong, for programs.
	Cause Cause  `json:"cause,omitempty"`
	Text  string `json:"text"`
	// Advice is what to do.
	Advice string `json:"advice,omitempty"`
	// Output has the last lines of the plugin, if it said something.
	Output string `json:"output,omitempty"`
}

// Report is what the command finds, in JSON.
type Report struct {
	Plugin  string `json:"plugin"`
	Healthy bool   `json:"healthy"`
	Steps   []Step `json:"steps"`
}

// command has the flags of the command.
type command struct {
	out      *output.Printer
	target   target.Flags
	protocol string
	slow     time.Duration
}

// New returns the command.
func New(out *output.Printer) *cobra.Command {
	c := &command{out: out}
	cmd := &cobra.Command{
		Use:   "doctor [flags] PLUGIN [-- ARGUMENT...]",
		Short: "Start a plugin step by step, and say what is wrong and what to do",
		Long: `Doctor starts a plugin step by step, calls it and stops it. It says what is wrong in a
sentence, and what to do. Its exit code is 0 if nothing is wrong, and 1 after an error.

` + target.Usage,
		Example: `  plugwire doctor ./plugin
  plugwire doctor -preset terraform ./terraform-provider-example
  plugwire doctor -transport tcp -port-range 10000-10100 ./plugin -- -verbose`,
		RunE: func(cmd *cobra.Command, args []string) error {
			split := target.Split(args, cmd.ArgsLenAtDash())
			ref, rest, err := split.Take(func(before []string) bool { return len(before) == 0 })
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return output.Usage("%q is one argument too many: arguments of the plugin come after --", rest[0])
			}
			return c.run(cmd.Context(), ref)
		},
	}
	c.target.Defaults = target.Defaults{LogLevel: "off", StartTimeout: startTimeout}
	c.target.Add(cmd.Flags())
	cmd.Flags().StringVar(&c.protocol, "protocol", "", "`name` of the protocol that the host needs (default any)")
	cmd.Flags().DurationVar(&c.slow, "slow", time.Second, "a start that takes longer is a warning")
	return cmd
}

func (c *command) run(ctx context.Context, ref target.Ref) error {
	d := &diagnosis{command: c, ref: ref}
	if err := d.run(ctx); err != nil {
		return err
	}
	report := Report{Plugin: ref.String(), Healthy: true, Steps: d.steps}
	for _, s := range d.steps {
		report.Healthy = report.Healthy && s.State != stateError
	}
	if c.out.JSON {
		if err := c.out.Object(report); err != nil {
			return err
		}
	}
	if !report.Healthy {
		return output.Found("the plugin has something wrong with it")
	}
	return nil
}

// diagnosis is one run of the command.
type diagnosis struct {
	*command
	ref   target.Ref
	steps []Step
	// failed is the first error of the output.
	failed error

	noise      recorder // what the plugin has printed beside its answer
	privateDir string   // the directory for the socket; empty if it was not made
	oomBefore  int      // how often the kernel had ended a process of this group for want of memory
}

// add adds a step, and shows it to a person at once.
func (d *diagnosis) add(s Step) {
	d.steps = append(d.steps, s)
	if d.out.JSON || d.failed != nil {
		return
	}
	mark := d.out.Good("ok     ")
	switch s.State {
	case stateWarning:
		mark = d.out.Bold("warning")
	case stateError:
		mark = d.out.Bad("error  ")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-10s  %s\n", mark, s.Name, output.Safe(s.Text))
	if s.Advice != "" {
		fmt.Fprintf(&b, "         %-10s  %s\n", "what to do", output.Safe(s.Advice))
	}
	for line := range strings.Lines(s.Output) {
		fmt.Fprintf(&b, "         %-10s  | %s\n", "", strings.TrimRight(output.Safe(line), "\n"))
	}
	d.failed = d.out.Marked(b.String())
}

func (d *diagnosis) ok(name, format string, args ...any) {
	d.add(Step{Name: name, State: stateOK, Text: fmt.Sprintf(format, args...)})
}

// run tries one step after the other. An error is one of the person's, or of the output.
func (d *diagnosis) run(ctx context.Context) error {
	if d.ref.Attach == nil {
		if s, good := checkProgram(d.ref.Program()); good {
			d.ok("program", "%s", s)
		}
	}
	d.oomBefore = oomKills()
	p, err := d.open(ctx)
	if err != nil {
		var own *output.Error
		if errors.As(err, &own) && own.Code == output.ExitUsage || ctx.Err() != nil {
			return err
		}
		d.add(d.classify(err))
		return d.failed
	}
	d.started(p, p.Info().StartDuration)
	d.calls(ctx, p)
	d.stop(p)
	return d.failed
}

// open starts the plugin with eyes on it.
func (d *diagnosis) open(ctx context.Context) (*target.Plugin, error) {
	opts := []host.Option{
		host.WithStdout(&d.noise),
		host.WithTrace(&host.Trace{
			ProcessStart: func(e host.ProcessStartEvent) { d.privateDir = e.PrivateDir },
			Answer:       func(host.AnswerEvent) { d.noise.stop() },
		}),
	}
	if d.protocol != "" {
		versions, err := d.target.ProtocolVersions()
		if err != nil {
			return nil, err
		}
		protocols := make([]*protocol.Protocol, len(versions))
		for i, v := range versions {
			protocols[i] = protocol.New(d.protocol, v)
		}
		opts = append(opts, host.WithProtocols(protocols...))
	}
	return d.target.Open(ctx, d.ref, d.out, opts...)
}

// started says how the start went.
func (d *diagnosis) started(p *target.Plugin, took time.Duration) {
	if p.Recognized != "" {
		d.add(Step{
			Name: "cookie", State: stateWarning, Cause: CauseCookie, Text: "the plugin refuses Plugwire's cookie, and takes another: " + p.Recognized,
			Advice: "a host needs that cookie (host.WithCookie, MagicCookieKey and MagicCookieValue of go-plugin)",
		})
	}
	if noise := d.noise.text(); noise != "" {
		d.add(Step{
			Name: "answer", State: stateWarning, Cause: CauseNoise, Output: noise,
			Text:   "the plugin prints other lines before its answer",
			Advice: "print nothing on standard output before the plugin serves: hosts on go-plugin take the first line for the answer. Use standard error",
		})
	}
	info := p.Info()
	framework := "Plugwire"
	if p.Foreign {
		framework = "go-plugin's handshake"
	}
	var name string
	if info.Protocol != "" {
		name = info.Protocol + " "
	}
	if p.VersionKnown {
		name += fmt.Sprintf("version %d, ", info.Version)
	}
	d.ok("start", "%s, %s%s, %s, %s", framework, name, info.Transport, info.Session, info.Security)
	if p.Ref.Attach == nil && took > d.slow {
		d.add(Step{
			Name: "time", State: stateWarning, Cause: CauseSlow,
			Text:   fmt.Sprintf("the start took %v, most of it in phase %s", took.Round(time.Millisecond), longest(p.Phases)),
			Advice: adviceSlow(longest(p.Phases)),
		})
	} else {
		d.ok("time", "the start took %v", took.Round(100*time.Microsecond))
	}
}

func longest(phases []target.Phase) host.Phase {
	var found target.Phase
	for _, p := range phases {
		if p.Duration >= found.Duration {
			found = p
		}
	}
	return found.Name
}

func adviceSlow(phase host.Phase) string {
	switch phase {
	case host.PhaseHandshake:
		return "the program works before it serves: let it serve first, and load data in the background or with plugin.OnReady"
	case host.PhaseReady:
		return "the plugin's OnReady functions take that long: the host can do nothing before"
	default:
		return "the machine is busy, or the program's file is on a slow disk"
	}
}

// callTimeout bounds each question to the plugin.
const callTimeout = 10 * time.Second

// calls asks the plugin what every host may ask.
func (d *diagnosis) calls(ctx context.Context, p *target.Plugin) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := p.Ping(ctx); err != nil {
		state, advice := stateError, "look at the plugin's log (-log debug)"
		if isUnimplemented(err) {
			state, advice = stateWarning, `serve grpc.health.v1.Health for the service "plugin", so that a host can see whether the plugin hangs`
		}
		d.add(Step{Name: "health", State: state, Cause: CauseHealth, Text: "the plugin does not say that it is healthy: " + message(err), Advice: advice})
	} else {
		d.ok("health", "the plugin says that it is serving")
	}
	s, err := schema.FromReflection(ctx, p)
	if err != nil {
		d.add(Step{Name: "services", State: stateWarning, Cause: CauseReflection, Text: message(err), Advice: "if tools have to call the plugin, register gRPC's reflection"})
		return
	}
	defer s.Close()
	var names []string
	for _, service := range s.DescribeServices() {
		names = append(names, service.Name)
	}
	d.ok("services", "%s", strings.Join(names, ", "))
}

// stop stops the plugin as a host does.
func (d *diagnosis) stop(p *target.Plugin) {
	if p.Ref.Attach != nil && p.Ref.Attach.Stays {
		return // it is not ours to stop
	}
	begun := time.Now()
	if err := p.Close(); err != nil {
		d.add(Step{
			Name: "stop", State: stateError, Cause: CauseStop, Text: firstLine(err.Error()), Output: restOf(err.Error()),
			Advice: "the program has to end, with code 0, when its host asks: return from main, and do not exit elsewhere",
		})
		return
	}
	d.ok("stop", "the plugin ended in good order after %v", time.Since(begun).Round(100*time.Microsecond))
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

func restOf(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// maxNoise is how much of what a plugin prints before its answer is kept, in bytes. A
// person needs the first lines.
const maxNoise = 4 << 10

// recorder keeps what the plugin prints until it is stopped.
type recorder struct {
	mu      sync.Mutex // guards what follows
	kept    []byte
	stopped bool
}

var _ io.Writer = (*recorder)(nil)

// Write implements [io.Writer].
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.kept = append(r.kept, b[:min(len(b), maxNoise-len(r.kept))]...)
	}
	return len(b), nil
}

func (r *recorder) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.kept)
}
