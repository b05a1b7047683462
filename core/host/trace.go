package host

import (
	"os/exec"
	"slices"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/transport"
)

// Trace is hooks into the life of a plugin, in the style of net/http/httptrace. They
// are listed in the order in which they are called. Any of them may be nil. One Trace
// may be given to several starts.
//
// Several goroutines call the hooks. Up to Ready, the calls of one start do not overlap.
// A hook must not block: the start or the stop waits for it. An event belongs to the
// hook, which may keep and change it.
type Trace struct {
	// ProcessStart is called before the process is started.
	ProcessStart func(ProcessStartEvent)
	// ProcessStarted is called when the process runs.
	ProcessStarted func(ProcessStartedEvent)
	// Answer is called with the plugin's answer before the host checks it.
	Answer func(AnswerEvent)
	// Dial is called before the host dials the plugin.
	Dial func(DialEvent)
	// Connected is called when the host has dialed and authenticated the plugin, or
	// when that failed.
	Connected func(ConnectedEvent)
	// Ready is called when calls can be made.
	Ready func(ReadyEvent)
	// Failed is called when the start has failed and nothing of the plugin is left. It is
	// not called if the options are wrong.
	Failed func(FailedEvent)
	// Stopping is called for each step that a shutdown needs.
	Stopping func(StoppingEvent)
	// ProcessExited is called when the process and its group have ended.
	ProcessExited func(ProcessExitedEvent)

	starts atomic.Uint64 // how many starts had this trace
}

// Event is what all events of a [Trace] have.
type Event struct {
	// Plugin is the plugin's name ([WithName]).
	Plugin string
	// Start tells starts with the same Trace apart: 1 for the first [Launch] or
	// [Attach], 2 for the next.
	Start uint64
	// Time is when the event happened.
	Time time.Time
}

// ProcessStartEvent is the command as it will be run.
type ProcessStartEvent struct {
	Event
	// Path is the program, Args its arguments and Dir its working directory, as in
	// [exec.Cmd]. With [WithChecksum] the Path is that of the verified copy.
	Path string
	Args []string
	Dir  string
	// Env is the environment, with the offer of the handshake.
	Env []string
	// PrivateDir is the directory for the plugin's socket. The host has made it and
	// removes it. It is empty where there is none.
	PrivateDir string
}

// ProcessStartedEvent is a process that runs.
type ProcessStartedEvent struct {
	Event
	// ID is the runner's name for the process: its number, for a local one.
	ID string
}

// AnswerEvent is a plugin's answer, not yet checked: it is untrusted.
type AnswerEvent struct {
	Event
	// Foreign is set for the answer of another framework, which has only the fields of
	// go-plugin. The others have the values that go-plugin means.
	Foreign bool
	// Protocol is the name of the protocol, empty for a foreign plugin. Version is
	// its version.
	Protocol string
	Version  int
	// Transport and Address are where the plugin listens.
	Transport transport.ID
	Address   string
	// Session, Wire and Security are as in [Info].
	Session, Wire, Security string
	// Certificate is the DER of the plugin's certificate, nil without mutual TLS.
	Certificate []byte
	// Refusal is why the plugin cannot serve; nil if it can. With a Refusal, only Protocol
	// and Version have a meaning.
	Refusal *handshake.Error
}

// DialEvent is the address that the host dials, after a [Translator] has translated it.
type DialEvent struct {
	Event
	Transport transport.ID
	Address   string
}

// ConnectedEvent is the end of dialing and authenticating. Err is nil if it succeeded.
type ConnectedEvent struct {
	Event
	Err error
}

// ReadyEvent is a plugin that can be called.
type ReadyEvent struct {
	Event
	Info Info
}

// FailedEvent is a start that failed. Err is what the caller of [Launch] or [Attach] gets.
type FailedEvent struct {
	Event
	Err *StartError
}

// StoppingEvent is a step of a shutdown.
type StoppingEvent struct {
	Event
	Step Step
}

// ProcessExitedEvent is how a process ended.
type ProcessExitedEvent struct {
	Event
	Status ExitStatus
}

// tracer calls the hooks of one start.
type tracer struct {
	name   string // the plugin's
	traces []startOf
}

// startOf is a start, as one trace counts it.
type startOf struct {
	*Trace
	number uint64
}

// newTracer returns the tracer of a new start.
func newTracer(traces []*Trace, name string) *tracer {
	t := &tracer{name: name}
	for _, trace := range traces {
		t.traces = append(t.traces, startOf{trace, trace.starts.Add(1)})
	}
	return t
}

// call calls the hook that each trace has for an event, in the order of the traces.
func call[E any](t *tracer, hookOf func(*Trace) func(E), event func(Event) E) {
	for _, s := range t.traces {
		if hook := hookOf(s.Trace); hook != nil {
			hook(event(Event{Plugin: t.name, Start: s.number, Time: time.Now()}))
		}
	}
}

func (t *tracer) processStart(cmd *exec.Cmd, privateDir string) {
	call(t, func(s *Trace) func(ProcessStartEvent) { return s.ProcessStart }, func(e Event) ProcessStartEvent {
		return ProcessStartEvent{
			Event: e, Path: cmd.Path, Args: slices.Clone(cmd.Args), Dir: cmd.Dir, Env: slices.Clone(cmd.Env),
			PrivateDir: privateDir,
		}
	})
}

func (t *tracer) processStarted(id string) {
	call(t, func(s *Trace) func(ProcessStartedEvent) { return s.ProcessStarted }, func(e Event) ProcessStartedEvent {
		return ProcessStartedEvent{e, id}
	})
}

func (t *tracer) answer(a *negotiation.Answer) {
	call(t, func(s *Trace) func(AnswerEvent) { return s.Answer }, func(e Event) AnswerEvent {
		event := AnswerEvent{
			Event: e, Foreign: !a.Plugwire, Protocol: a.Protocol, Version: a.Version, Transport: a.Transport, Address: a.Address,
			Session: a.Session, Wire: a.Wire, Security: a.Security, Certificate: slices.Clone(a.Cert),
		}
		if a.Refusal != nil {
			refusal := *a.Refusal
			event.Refusal = &refusal
		}
		return event
	})
}

func (t *tracer) dial(id transport.ID, address string) {
	call(t, func(s *Trace) func(DialEvent) { return s.Dial }, func(e Event) DialEvent { return DialEvent{e, id, address} })
}

func (t *tracer) connected(err error) {
	call(t, func(s *Trace) func(ConnectedEvent) { return s.Connected }, func(e Event) ConnectedEvent { return ConnectedEvent{e, err} })
}

func (t *tracer) ready(info Info) {
	call(t, func(s *Trace) func(ReadyEvent) { return s.Ready }, func(e Event) ReadyEvent { return ReadyEvent{e, info} })
}

func (t *tracer) failed(err *StartError) {
	call(t, func(s *Trace) func(FailedEvent) { return s.Failed }, func(e Event) FailedEvent {
		own := *err
		return FailedEvent{e, &own}
	})
}

func (t *tracer) stopping(step Step) {
	call(t, func(s *Trace) func(StoppingEvent) { return s.Stopping }, func(e Event) StoppingEvent { return StoppingEvent{e, step} })
}

func (t *tracer) processExited(status ExitStatus) {
	call(t, func(s *Trace) func(ProcessExitedEvent) { return s.ProcessExited }, func(e Event) ProcessExitedEvent {
		return ProcessExitedEvent{e, status}
	})
}
