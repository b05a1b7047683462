package otelplugwire

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plugwire/plugwire/core/supervise"
)

// Supervise makes a handle tell about its restarts and swaps:
//
//   - a span for each gap, from the end of a plugin to the next one that takes calls, with
//     an event for everything that happens in between
//   - a span for each swap
//   - plugwire.plugin.restarts, plugwire.plugin.swaps and plugwire.plugin.gap.duration (s)
//
// One option may be given to many handles if the names of their plugins differ.
func Supervise(opts ...Option) supervise.Option {
	cfg := newConfig(opts)
	m := cfg.meter()
	s := &supervisor{
		tracer: cfg.tracer(),
		restarts: must(m.Int64Counter("plugwire.plugin.restarts", metric.WithUnit("{restart}"),
			metric.WithDescription("Plugins that took the place of one that had ended."))),
		swaps: must(m.Int64Counter("plugwire.plugin.swaps", metric.WithUnit("{swap}"),
			metric.WithDescription("Swaps. Those that failed have error.type."))),
		gaps: must(m.Float64Histogram("plugwire.plugin.gap.duration", metric.WithUnit("s"), seconds,
			metric.WithDescription("Time without a plugin that takes calls."))),
		handles: make(map[string]*handle),
	}
	return supervise.WithListener(s.listen)
}

// supervisor tells about handles.
type supervisor struct {
	tracer   trace.Tracer
	restarts metric.Int64Counter
	swaps    metric.Int64Counter
	gaps     metric.Float64Histogram

	mu      sync.Mutex // guards what follows
	handles map[string]*handle
}

// handle is what goes on at one handle.
type handle struct {
	gap  *gap       // nil if a plugin takes calls
	idle bool       // the plugin is being stopped because nobody calls it
	swap trace.Span // nil if none is under way
}

// gap is the time without a plugin.
type gap struct {
	trace.Span
	began supervise.Event
}

func (s *supervisor) listen(e supervise.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handles[e.Name]
	if h == nil {
		h = new(handle)
		s.handles[e.Name] = h
	}
	swapping := e.Attempt == 0 && (e.Kind == supervise.KindStarting || e.Kind == supervise.KindStartFailed || e.Kind == supervise.KindSwapped)
	switch {
	case swapping:
		s.swapEvent(h, e)
	case e.Kind == supervise.KindIdle:
		h.idle = true
	case e.Kind == supervise.KindExited && h.idle:
		h.idle = false // no call misses the plugin: the next one starts another
	case e.Kind == supervise.KindUnhealthy || e.Kind == supervise.KindExited:
		if h.gap == nil {
			h.gap = &gap{s.span("plugin gap "+e.Name, e), e}
		}
		addEvent(h.gap, e)
	case h.gap != nil:
		addEvent(h.gap, e)
		s.endGap(h, e)
	}
	if e.Kind == supervise.KindReady {
		h.idle = false
	}
	if e.Kind == supervise.KindClosed {
		if h.swap != nil {
			s.endSwap(h, e)
		}
		delete(s.handles, e.Name)
	}
}

// span begins a span at the time of an event.
func (s *supervisor) span(name string, e supervise.Event) trace.Span {
	_, span := s.tracer.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(e.Time), trace.WithAttributes(pluginName.String(e.Name)))
	return span
}

func addEvent(span trace.Span, e supervise.Event) {
	attributes := trace.WithAttributes()
	if e.Attempt > 0 {
		attributes = trace.WithAttributes(attemptKey.Int(e.Attempt))
	}
	if e.Err != nil {
		span.RecordError(e.Err, trace.WithTimestamp(e.Time))
	}
	span.AddEvent(string(e.Kind), trace.WithTimestamp(e.Time), attributes)
}

// endGap ends the gap if the event does.
func (s *supervisor) endGap(h *handle, e supervise.Event) {
	ctx, name := context.Background(), metric.WithAttributes(pluginName.String(e.Name))
	switch e.Kind {
	case supervise.KindReady:
		s.restarts.Add(ctx, 1, name)
		s.gaps.Record(ctx, e.Time.Sub(h.gap.began.Time).Seconds(), name)
	case supervise.KindGaveUp, supervise.KindClosed:
		h.gap.SetStatus(codes.Error, string(e.Kind))
	default:
		return
	}
	h.gap.End(trace.WithTimestamp(e.Time))
	h.gap = nil
}

func (s *supervisor) swapEvent(h *handle, e supervise.Event) {
	if e.Kind == supervise.KindStarting {
		h.swap = s.span("plugin swap "+e.Name, e)
		return
	}
	if h.swap != nil {
		s.endSwap(h, e)
	}
}

func (s *supervisor) endSwap(h *handle, e supervise.Event) {
	addEvent(h.swap, e)
	attributes := []metric.AddOption{metric.WithAttributes(pluginName.String(e.Name))}
	if e.Kind != supervise.KindSwapped {
		h.swap.SetStatus(codes.Error, string(e.Kind))
		attributes = append(attributes, metric.WithAttributes(errorType.String(string(e.Kind))))
	}
	s.swaps.Add(context.Background(), 1, attributes...)
	h.swap.End(trace.WithTimestamp(e.Time))
	h.swap = nil
}
