package otelplugwire

import (
	"context"
	"maps"
	"sync"

	"github.com/shirou/gopsutil/v4/process"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// processes measures the processes of plugins whenever metrics are collected.
type processes struct {
	meter  metric.Meter
	memory metric.Int64ObservableUpDownCounter
	cpu    metric.Float64ObservableCounter

	mu           sync.Mutex          // guards what follows
	names        map[int]string      // of the plugins, by the numbers of their processes
	registration metric.Registration // nil if there is no process
}

func newProcesses(m metric.Meter) *processes {
	return &processes{
		meter: m,
		memory: must(m.Int64ObservableUpDownCounter("process.memory.usage", metric.WithUnit("By"),
			metric.WithDescription("The amount of physical memory in use."))),
		cpu: must(m.Float64ObservableCounter("process.cpu.time", metric.WithUnit("s"),
			metric.WithDescription("Total CPU seconds broken down by different states."))),
		names: make(map[int]string),
	}
}

// add measures a process from now on. A pid of 0 is a plugin without one.
func (p *processes) add(pid int, plugin string) {
	if pid == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[pid] = plugin
	if p.registration == nil {
		p.registration = must(p.meter.RegisterCallback(p.observe, p.memory, p.cpu))
	}
}

// remove forgets a process that has ended.
func (p *processes) remove(pid int) {
	p.mu.Lock()
	delete(p.names, pid)
	var unused metric.Registration
	if len(p.names) == 0 {
		unused, p.registration = p.registration, nil
	}
	p.mu.Unlock()
	if unused == nil {
		return
	}
	if err := unused.Unregister(); err != nil { // outside of the lock, which observe takes
		otel.Handle(err)
	}
}

// observe measures all processes. One that cannot be measured has just ended.
func (p *processes) observe(ctx context.Context, o metric.Observer) error {
	p.mu.Lock()
	names := maps.Clone(p.names)
	p.mu.Unlock()
	for pid, name := range names {
		running, err := process.NewProcessWithContext(ctx, int32(pid)) //nolint:gosec // the system's number
		if err != nil {
			continue
		}
		attributes := []attribute.KeyValue{pluginName.String(name), attribute.Int("process.pid", pid)}
		if memory, err := running.MemoryInfoWithContext(ctx); err == nil {
			o.ObserveInt64(p.memory, int64(memory.RSS), metric.WithAttributes(attributes...)) //nolint:gosec // less than the memory of a machine
		}
		if times, err := running.TimesWithContext(ctx); err == nil {
			for mode, seconds := range map[string]float64{"user": times.User, "system": times.System} {
				o.ObserveFloat64(p.cpu, seconds, metric.WithAttributes(append(attributes, attribute.String("cpu.mode", mode))...))
			}
		}
	}
	return nil
}
