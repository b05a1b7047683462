package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// A comparison is a list of measurements of several sides.
type comparison struct {
	name, title  string
	open         func(context.Context, *place) ([]side, error) // the first is the base of the ratios
	measurements []measurement
	allocs       bool // whether to count allocations as well
	allocsAim    aim
}

// full is the name by which -run knows a measurement.
func (c *comparison) full(measurement string) string { return c.name + ": " + measurement }

// A measurement is an operation whose cost is compared.
type measurement struct {
	name   string
	unit   unit
	aim    aim
	sample func(side) sample
}

// A sample repeats an operation for about d, at least once, and returns the
// time of one.
type sample func(ctx context.Context, d time.Duration) (time.Duration, error)

// A unit is the unit in which the time of one operation is shown.
type unit struct {
	name string
	of   func(time.Duration) float64
}

var (
	millis         = unit{"ms", func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }}
	microsACall    = unit{"us/call", micros}
	microsAMessage = unit{"us/message", micros}
	callsASecond   = unit{"calls/s", perSecond}
)

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func perSecond(d time.Duration) float64 { return float64(time.Second) / float64(d) }

// mebibytesASecond is for an operation that moves so many bytes.
func mebibytesASecond(bytes int) unit {
	return unit{"MiB/s", func(d time.Duration) float64 { return perSecond(d) * float64(bytes) / (1 << 20) }}
}

// measure runs the measurements that cfg selects.
func measure(ctx context.Context, cfg config, progress func(name string)) ([]table, error) {
	var tables []table
	for _, c := range comparisons {
		chosen := c
		chosen.measurements = slices.DeleteFunc(slices.Clone(c.measurements), func(m measurement) bool {
			return !cfg.run.MatchString(c.full(m.name))
		})
		chosen.allocs = c.allocs && cfg.run.MatchString(c.full(allocsName))
		if len(chosen.measurements) == 0 && !chosen.allocs {
			continue
		}
		t, err := chosen.measure(ctx, cfg, progress)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		tables = append(tables, t)
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("no measurement has a name that matches %q: -h lists them", cfg.run)
	}
	return tables, nil
}

func (c *comparison) measure(ctx context.Context, cfg config, progress func(name string)) (t table, err error) {
	at, err := newPlace()
	if err != nil {
		return table{}, err
	}
	defer func() { err = errors.Join(err, at.close()) }()
	sides, err := c.open(ctx, at)
	if err != nil {
		return table{}, err
	}
	t = table{name: c.name, title: c.title}
	for _, s := range sides {
		t.sides = append(t.sides, s.name)
		if s.note != "" {
			t.notes = append(t.notes, s.name+": "+s.note)
		}
	}
	for _, m := range c.measurements {
		progress(c.full(m.name))
		values, err := m.compare(ctx, cfg, sides)
		if err != nil {
			return table{}, fmt.Errorf("%s: %w", m.name, err)
		}
		t.rows = append(t.rows, row{m.name, m.unit.name, values, m.aim})
	}
	if c.allocs {
		progress(c.full(allocsName))
		rows, err := countAllocs(ctx, sides, c.allocsAim)
		if err != nil {
			return table{}, fmt.Errorf("%s: %w", allocsName, err)
		}
		t.rows = append(t.rows, rows...)
	}
	return t, nil
}

// compare lets the sides work one after the other, in an order that changes
// with each round, and returns the medians of their rounds.
func (m measurement) compare(ctx context.Context, cfg config, sides []side) ([]float64, error) {
	costs := make([][]time.Duration, len(sides))
	for round := range cfg.rounds + 1 {
		for i := range sides {
			which := (i + round) % len(sides)
			cost, err := m.sample(sides[which])(ctx, cfg.slice)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sides[which].name, err)
			}
			if round > 0 { // the first one warms up
				costs[which] = append(costs[which], cost)
			}
		}
	}
	values := make([]float64, len(sides))
	for i := range sides {
		values[i] = m.unit.of(median(costs[i]))
	}
	return values, nil
}

// median sorts the times.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// place has the resources of a comparison.
type place struct {
	self    string // path of this program
	dir     string // directory for sockets
	closers []func() error
}

func newPlace() (*place, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	return &place{self: self, dir: dir, closers: []func() error{func() error { return os.RemoveAll(dir) }}}, nil
}

// onClose registers what close will do, last first.
func (p *place) onClose(f func() error) { p.closers = append(p.closers, f) }

func (p *place) close() error {
	var errs []error
	for _, f := range slices.Backward(p.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
