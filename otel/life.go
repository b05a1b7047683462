package otelplugwire

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plugwire/plugwire/core/host"
)

// seconds are the bounds of a histogram of starts: from a plugin that is there in 2 ms to
// one that takes the whole of host.DefaultStartTimeout.
var seconds = metric.WithExplicitBucketBoundaries(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)

// lives tells about the lives of plugins.
type lives struct {
	tracer    trace.Tracer
	starts    metric.Int64Counter
	total     metric.Float64Histogram
	phases    metric.Float64Histogram
	running   metric.Int64UpDownCounter
	exits     metric.Int64Counter
	processes *processes

	mu      sync.Mutex // guards what follows
	pending map[uint64]*start
	alive   map[uint64]int // the processes of plugins that are ready; 0 if there is none
}

// start is a start that is under way.
type start struct {
	steps []step
}

// step is something that happened during a start.
type step struct {
	name       string
	time       time.Time
	phase      host.Phase // that the step ends
	attributes []attribute.KeyValue
}

func newLives(cfg *config) *lives {
	m := cfg.meter()
	return &lives{
		tracer: cfg.tracer(),
		starts: must(m.Int64Counter("plugwire.plugin.starts", metric.WithUnit("{start}"),
			metric.WithDescription("Starts of plugins. Those that failed have error.type, the phase in which they failed."))),
		total: must(m.Float64Histogram("plugwire.plugin.start.duration", metric.WithUnit("s"), seconds,
			metric.WithDescription("Time from the launch of a plugin to the first possible call, or to the failure."))),
		phases: must(m.Float64Histogram("plugwire.plugin.start.phase.duration", metric.WithUnit("s"), seconds,
			metric.WithDescription("Time that each phase of a start took."))),
		running: must(m.Int64UpDownCounter("plugwire.plugin.running", metric.WithUnit("{plugin}"),
			metric.WithDescription("Plugins that are ready and have not ended."))),
		exits: must(m.Int64Counter("plugwire.plugin.exits", metric.WithUnit("{exit}"),
			metric.WithDescription("Ends of the processes of plugins, by exit code or signal."))),
		processes: newProcesses(m),
		pending:   make(map[uint64]*start),
		alive:     make(map[uint64]int),
	}
}

// trace returns the hooks that a host calls.
func (l *lives) trace() *host.Trace {
	return &host.Trace{
		ProcessStart: func(e host.ProcessStartEvent) {
			l.step(e.Event, "process start", host.PhasePrepare, attribute.String("process.executable.path", e.Path))
		},
		ProcessStarted: func(e host.ProcessStartedEvent) {
			l.step(e.Event, "process started", host.PhaseStart)
		},
		Answer: func(e host.AnswerEvent) {
			l.step(e.Event, "answer", host.PhaseHandshake, versionKey.Int(e.Version), transportID.String(e.Transport.String()))
		},
		Dial: func(e host.DialEvent) {
			l.step(e.Event, "dial", "", transportID.String(e.Transport.String()))
		},
		Connected: func(e host.ConnectedEvent) {
			l.step(e.Event, "connected", host.PhaseConnect)
		},
		Ready:         l.ready,
		Failed:        l.failed,
		ProcessExited: l.exited,
	}
}

func (l *lives) step(e host.Event, name string, phase host.Phase, attributes ...attribute.KeyValue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.pending[e.Start]
	if s == nil {
		s = new(start)
		l.pending[e.Start] = s
	}
	s.steps = append(s.steps, step{name, e.Time, phase, attributes})
}

// take returns the steps of a start, which is over.
func (l *lives) take(e host.Event) []step {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.pending[e.Start]
	delete(l.pending, e.Start)
	if s == nil {
		return nil
	}
	return s.steps
}

func (l *lives) ready(e host.ReadyEvent) {
	ctx, name := context.Background(), pluginName.String(e.Plugin)
	began := e.Time.Add(-e.Info.StartDuration)
	steps := append(l.take(e.Event), step{"ready", e.Time, host.PhaseReady, nil})
	l.span(e.Event, began, steps,
		protocolKey.String(e.Info.Protocol), versionKey.Int(e.Info.Version), transportID.String(e.Info.Transport.String()),
		sessionKind.String(e.Info.Session), wireName.String(e.Info.Wire), securityKey.String(e.Info.Security),
		attribute.Int("process.pid", e.Info.PID)).End(trace.WithTimestamp(e.Time))
	l.starts.Add(ctx, 1, metric.WithAttributes(name))
	l.total.Record(ctx, e.Info.StartDuration.Seconds(), metric.WithAttributes(name))
	for from, s := began, steps; len(s) > 0; s = s[1:] {
		if s[0].phase != "" {
			l.phases.Record(ctx, s[0].time.Sub(from).Seconds(), metric.WithAttributes(name, startPhase.String(string(s[0].phase))))
		}
		from = s[0].time
	}
	l.running.Add(ctx, 1, metric.WithAttributes(name))
	l.mu.Lock()
	l.alive[e.Start] = e.Info.PID
	l.mu.Unlock()
	l.processes.add(e.Info.PID, e.Plugin)
}

func (l *lives) failed(e host.FailedEvent) {
	ctx, failure := context.Background(), metric.WithAttributes(pluginName.String(e.Plugin), errorType.String(string(e.Err.Phase)))
	span := l.span(e.Event, e.Time.Add(-e.Err.Elapsed), l.take(e.Event), errorType.String(string(e.Err.Phase)))
	span.RecordError(e.Err, trace.WithTimestamp(e.Time))
	span.SetStatus(codes.Error, e.Err.Err.Error())
	span.End(trace.WithTimestamp(e.Time))
	l.starts.Add(ctx, 1, failure)
	l.total.Record(ctx, e.Err.Elapsed.Seconds(), failure)
}

// span returns the span of a start, with its steps as events. The caller ends it.
func (l *lives) span(e host.Event, began time.Time, steps []step, attributes ...attribute.KeyValue) trace.Span {
	_, span := l.tracer.Start(context.Background(), "plugin start "+e.Plugin, trace.WithNewRoot(), trace.WithTimestamp(began),
		trace.WithAttributes(append(attributes, pluginName.String(e.Plugin))...))
	for _, s := range steps {
		span.AddEvent(s.name, trace.WithTimestamp(s.time), trace.WithAttributes(s.attributes...))
	}
	return span
}

func (l *lives) exited(e host.ProcessExitedEvent) {
	l.mu.Lock()
	pid, wasReady := l.alive[e.Start]
	delete(l.alive, e.Start)
	l.mu.Unlock()
	ctx, name := context.Background(), pluginName.String(e.Plugin)
	if wasReady {
		l.running.Add(ctx, -1, metric.WithAttributes(name))
		l.processes.remove(pid)
	}
	l.exits.Add(ctx, 1, metric.WithAttributes(append(exitAttributes(e.Status), name)...))
}

func exitAttributes(s host.ExitStatus) []attribute.KeyValue {
	switch {
	case s.Unknown:
		return nil
	case s.Signal != "":
		return []attribute.KeyValue{attribute.String("plugwire.exit.signal", s.Signal)}
	default:
		return []attribute.KeyValue{attribute.Int("process.exit.code", s.Code)}
	}
}
