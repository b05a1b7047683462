package target

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/preset"
	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
)

// Plugin is a plugin that was opened and can be called.
type Plugin struct {
	*host.Plugin
	// Ref is how the plugin was named.
	Ref Ref
	// Path is the program's file; empty for a plugin that runs already.
	Path string
	// Foreign is set for a plugin of another framework.
	Foreign bool
	// VersionKnown is set if the plugin has said which version of the protocol it speaks.
	VersionKnown bool
	// Certificate is the DER of the plugin's certificate; nil without mutual TLS.
	Certificate []byte
	// Recognized says which cookie was found for a plugin that refused the default one;
	// empty if none had to be found.
	Recognized string
	// Phases are how long each phase of the start took, in order.
	Phases []Phase
}

// Phase is a part of a start.
type Phase struct {
	Name     host.Phase
	Duration time.Duration
}

// Open starts the plugin or attaches to it. The context bounds the start. If a plugin
// refuses Plugwire's cookie and no other was given, Open tries the cookies that the
// refusal or the program's file names.
func (f *Flags) Open(ctx context.Context, ref Ref, out *output.Printer, opts ...host.Option) (*Plugin, error) {
	c, err := f.cookie()
	if err != nil {
		return nil, err
	}
	level, err := f.level()
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime}))
	opened, err := f.open(ctx, ref, c, logger, opts)
	if !errors.Is(err, &handshake.Error{Code: handshake.CodeCookie}) || ref.Attach != nil || c.name != "" {
		return opened, f.startError(err)
	}
	for _, found := range candidates(err, ref.Program()) {
		found.versions = cmpVersions(c.versions, found.versions)
		again, againErr := f.open(ctx, ref, found.cookie, logger, opts)
		if againErr == nil {
			again.Recognized = found.String()
			return again, nil
		}
		if !errors.Is(againErr, &handshake.Error{Code: handshake.CodeCookie}) {
			return nil, f.startError(againErr) // the cookie was right
		}
	}
	return nil, f.startError(err)
}

func cmpVersions(given, found []int) []int {
	if len(given) > 0 {
		return given
	}
	return found
}

// withoutTime leaves the time out of log lines: a person sees them as they come.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// open makes one attempt.
func (f *Flags) open(ctx context.Context, ref Ref, c cookie, logger *slog.Logger, opts []host.Option) (*Plugin, error) {
	if a := ref.Attach; a != nil && c.versions == nil && a.Version > 0 {
		c.versions = []int{a.Version}
	}
	all, err := f.options(ctx, c, logger)
	if err != nil {
		return nil, err
	}
	env, err := f.environment()
	if err != nil {
		return nil, err
	}
	var watch stopwatch
	all = append(append(all, host.WithTrace(watch.trace())), opts...)
	opened := &Plugin{Ref: ref, VersionKnown: true}
	begun := time.Now()
	if a := ref.Attach; a != nil {
		if a.Foreign && a.Security == handshake.SecurityNone {
			all = append(all, host.WithPlaintext()) // a person has named this address
		}
		opened.Plugin, err = host.Attach(ctx, *a, all...)
		opened.Foreign, opened.Certificate, opened.VersionKnown = a.Foreign, a.Cert, a.Version > 0
	} else {
		opened.Path = ref.Program()
		cmd := exec.Command(opened.Path, ref.Command[1:]...)
		cmd.Dir = f.Dir
		if len(env) > 0 {
			cmd.Env = append(os.Environ(), env...)
		}
		opened.Plugin, err = host.Launch(ctx, cmd, all...)
		opened.Foreign, opened.Certificate = watch.foreign, watch.certificate
	}
	if err != nil {
		return nil, err
	}
	opened.Phases = watch.phases(begun)
	return opened, nil
}

// stopwatch measures the phases of a start.
type stopwatch struct {
	mu          sync.Mutex // guards ends: the hooks of one start are on several goroutines
	ends        []end
	foreign     bool
	certificate []byte
}

// end is when a phase ended.
type end struct {
	phase host.Phase
	at    time.Time
}

func (w *stopwatch) end(phase host.Phase, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, end{phase, at})
}

func (w *stopwatch) trace() *host.Trace {
	return &host.Trace{
		ProcessStart:   func(e host.ProcessStartEvent) { w.end(host.PhasePrepare, e.Time) },
		ProcessStarted: func(e host.ProcessStartedEvent) { w.end(host.PhaseStart, e.Time) },
		Answer: func(e host.AnswerEvent) {
			w.end(host.PhaseHandshake, e.Time)
			w.foreign, w.certificate = e.Foreign, e.Certificate
		},
		Connected: func(e host.ConnectedEvent) { w.end(host.PhaseConnect, e.Time) },
		Ready:     func(e host.ReadyEvent) { w.end(host.PhaseReady, e.Time) },
	}
}

// phases returns how long each phase took.
func (w *stopwatch) phases(begun time.Time) []Phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	phases := make([]Phase, len(w.ends))
	for i, e := range w.ends {
		phases[i] = Phase{e.phase, e.at.Sub(begun)}
		begun = e.at
	}
	return phases
}

// candidate is a cookie that a plugin may want, and where it is from.
type candidate struct {
	cookie
	from string
}

func (c candidate) String() string { return c.from + ", cookie " + c.cookie.String() }

// expects is in the refusal of a plugin on Plugwire (docs/protocol.md, "Refusals").
var expects = regexp.MustCompile(`this plugin expects ([^=\s]+)=(.*)\)$`)

// candidates returns the cookies that a refusal or the program's file names.
func candidates(refusal error, path string) []candidate {
	var found []candidate
	if refused, ok := errors.AsType[*handshake.Error](refusal); ok {
		if m := expects.FindStringSubmatch(refused.Hint); m != nil {
			found = append(found, candidate{cookie{name: m[1], value: m[2]}, "the plugin's refusal"})
		}
	}
	presets, err := preset.Recognize(path)
	if err != nil {
		return found // the refusal is what the person sees
	}
	for _, p := range presets {
		found = append(found, candidate{cookie{p.Cookie, p.Value, p.Versions}, "preset " + p.Name})
	}
	return found
}

// inFlags replaces what errors of package host advise by the flags of this program.
var inFlags = strings.NewReplacer(
	"give host.WithCookie its MagicCookieKey and MagicCookieValue", "give its MagicCookieKey and MagicCookieValue with -cookie KEY=VALUE, or a -preset",
	"give host.WithCookie its MagicCookieKey and a value", "give its MagicCookieKey and a value with -cookie KEY=VALUE, or a -preset",
	"host.WithStartTimeout", "-start-timeout",
	"host.WithPlaintext", "-plaintext",
	"host.WithMultiplex", "-multiplex",
	"host.WithTransports", "-transport",
	"host.WithWire", "-wire",
	"host.WithMutualTLS", "-mtls",
)

// InFlags returns a text of package host with this program's flags in place of options.
func InFlags(text string) string { return inFlags.Replace(text) }

// StartError is the error of a start in the words of this program.
type StartError struct{ err error }

func (e *StartError) Error() string { return InFlags(e.err.Error()) }

// Unwrap returns the error of package host.
func (e *StartError) Unwrap() error { return e.err }

// startError returns err with its exit code. The error of a person stays as it is.
func (f *Flags) startError(err error) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*output.Error](err); ok {
		return own
	}
	details := map[string]any{}
	if start, ok := errors.AsType[*host.StartError](err); ok {
		details["phase"] = string(start.Phase)
		if start.Hint != "" {
			details["hint"] = InFlags(start.Hint)
		}
		if start.Exit != nil {
			details["exit"] = start.Exit.String()
		}
	}
	if refused, ok := errors.AsType[*handshake.Error](err); ok {
		details["handshake"] = string(refused.Code)
	}
	return &output.Error{Code: output.ExitStart, Err: &StartError{err}, Details: details}
}

// Close stops a plugin that this program started. A plugin that ran already goes on. The
// error is nil if the plugin ended in good order.
func (p *Plugin) Close() error {
	if err := p.Plugin.Close(); err != nil {
		return &output.Error{Code: output.ExitLost, Err: err}
	}
	return nil
}

// Label names the plugin for people.
func (p *Plugin) Label() string {
	return cmp.Or(p.Ref.String(), p.Name())
}
