package hosts

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// plugin returns the plugin that the host has started: the first, if there are several.
func (r *record) plugin() *actor {
	for _, a := range r.actors {
		if a.process != nil && !a.process.Child {
			return a
		}
	}
	return &actor{process: &probe.Process{}}
}

// env returns the environment of the plugin.
func (r *record) env() probe.Env { return probe.Env(r.plugin().process.Env) }

// offer returns the host's offer.
func (r *record) offer() *probe.Offer {
	o, err := probe.ParseOffer(r.env())
	if err != nil {
		return &probe.Offer{}
	}
	return o
}

// first returns the place of the first event of a kind whose text begins with prefix, or -1.
func (a *actor) first(kind probe.Kind, prefix string) int {
	for i, e := range a.events {
		if e.Kind == kind && strings.HasPrefix(e.Text, prefix) {
			return i
		}
	}
	return -1
}

// find returns the first event of a kind whose text begins with prefix, of any process.
func (r *record) find(kind probe.Kind, prefix string) (probe.Event, bool) {
	for _, a := range r.actors {
		if i := a.first(kind, prefix); i >= 0 {
			return a.events[i], true
		}
	}
	return probe.Event{}, false
}

// has reports whether there is such an event.
func (r *record) has(kind probe.Kind, prefix string) bool {
	_, ok := r.find(kind, prefix)
	return ok
}

// streams returns how the host opened the streams of the plugin, in order.
func (r *record) streams() []*probe.Stream {
	var opened []probe.Event
	for _, e := range r.plugin().events {
		if e.Kind == probe.Connected && e.Stream != nil {
			opened = append(opened, e)
		}
	}
	slices.SortStableFunc(opened, func(a, b probe.Event) int { return cmp.Compare(a.N, b.N) }) // they are taken at the same time
	streams := make([]*probe.Stream, len(opened))
	for i, e := range opened {
		streams[i] = e.Stream
	}
	return streams
}

// steps returns what has happened, for people.
func (r *record) steps() string {
	var steps []string
	for _, e := range r.plugin().events {
		step := string(e.Kind)
		if e.Text != "" && e.Kind != probe.Printed {
			step += " " + e.Text
		}
		steps = append(steps, step)
	}
	const most = 8
	if n := len(steps) - most; n > 0 {
		steps = append([]string{fmt.Sprintf("%d more", n)}, steps[n:]...)
	}
	return strings.Join(steps, ", ")
}

// crash is how a host looks that did not refuse something, but fell over it.
var crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |runtime: out of memory|Segmentation fault|.*core dumped)`)

// check returns a failure if there is something that no host does in any scene.
func (r *record) check() error {
	if len(r.actors) == 0 {
		return conform.Fail("the host starts the plugin", "the host ended with "+r.exit.String()+" and had started no plugin; it printed: "+lastLine(r.output),
			"give the host the path of the plugin: {plugin} in its arguments stands for it, and so does the variable "+EnvPlugin)
	}
	if e, ok := r.find(probe.Failed, ""); ok {
		return fmt.Errorf("the probe: %s", e.Text)
	}
	if e, ok := r.find(probe.Skip, ""); ok {
		return conform.NotApplicable("%s", e.Text)
	}
	if e, ok := r.find(probe.Wrong, ""); ok {
		return conform.Fail("the rules of the wire", e.Text, "compare what the host sends with the page")
	}
	if r.hangs {
		return conform.Fail("the host ends", fmt.Sprintf("it still ran after %.0f s; the plugin saw: %s", r.took.Seconds(), r.steps()),
			"bound this wait, and end the plugin when it is over; the flags -start-timeout and -stop-timeout say how long the host may take")
	}
	if r.exit.Code < 0 || crash.MatchString(r.output) {
		return conform.Fail("the host ends in order, with an exit code that says how it went", "the host crashed: "+r.exit.String(),
			"treat what a plugin sends as untrusted input")
	}
	return nil
}

// gone returns a failure if a process of the plugin is left.
func (r *record) gone() error {
	for _, a := range r.actors {
		if !a.alive || a.process == nil {
			continue
		}
		what := fmt.Sprintf("process %d of the plugin", a.process.PID)
		if a.process.Child {
			what = fmt.Sprintf("process %d, which the plugin had started,", a.process.PID)
		}
		return conform.Fail("nothing is left of the plugin when the host has ended", what+" still ran "+leftTime.String()+" later",
			"end the plugin with its process group: first by Shutdown, then by SIGTERM, then by SIGKILL")
	}
	return nil
}

// works returns a failure if the host did not do its work with the plugin.
func (r *record) works() error {
	if r.exit.Code != 0 {
		return conform.Fail("the host works with the plugin, and exits with code 0", fmt.Sprintf("%s; the plugin saw: %s", r.exit, r.steps()),
			"see what the host says; its first error is the cause")
	}
	for _, s := range r.streams() {
		if s.Wrong != "" {
			return conform.Fail("a connection that the plugin can take", s.Wrong, "compare the first bytes of a connection with the page")
		}
	}
	if len(r.streams()) == 0 {
		return conform.Fail("the host connects to the plugin", "it exited with code 0 and did not connect", "connect to the address of the answer")
	}
	return r.gone()
}

// refuses returns a failure if the host did not notice that something is wrong.
func (r *record) refuses() error {
	if e, ok := r.find(probe.Answered, ""); ok && !strings.HasPrefix(e.Text, probe.ControlService) {
		return conform.Fail("the host refuses the plugin", "it called "+e.Text, "compare the answer with the offer before the connection is made")
	}
	return r.fails()
}

// fails returns a failure if the host did not exit with an error.
func (r *record) fails() error {
	if r.exit.Code == 0 {
		return conform.Fail("the host fails, and exits with another code than 0", "exit code 0; the plugin saw: "+r.steps(),
			"report what went wrong, and exit with another code than 0")
	}
	return r.gone()
}

// mebibytes returns an amount of memory for people.
func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// hasSubtype reports whether a content type is that of gRPC with a codec.
func hasSubtype(contentType string) bool { return strings.HasPrefix(contentType, "application/grpc+") }

// sprint returns the values of a header for people.
func sprint(values []string) string {
	if len(values) == 0 {
		return "missing"
	}
	return strings.Join(values, ", ")
}

// maxShown is how much of a line is shown, in bytes.
const maxShown = 300

// lastLine returns the last line that a program has printed.
func lastLine(printed string) string {
	printed = strings.TrimRight(printed, "\n")
	line := printed[strings.LastIndexByte(printed, '\n')+1:]
	if line == "" {
		return "nothing"
	}
	return line[:min(len(line), maxShown)]
}
