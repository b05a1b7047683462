package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The first side changes with each round, and the warm-up round does not count.
func TestCompare(t *testing.T) {
	costs := map[string][]time.Duration{"a": {100, 3, 1, 2}, "b": {100, 30, 10, 20}}
	var order strings.Builder
	m := measurement{unit: unit{"ns", func(d time.Duration) float64 { return float64(d) }}, sample: func(s side) sample {
		return func(context.Context, time.Duration) (time.Duration, error) {
			order.WriteString(s.name)
			cost := costs[s.name][0]
			costs[s.name] = costs[s.name][1:]
			return cost, nil
		}
	}}
	got, err := m.compare(t.Context(), config{rounds: 3}, []side{{name: "a"}, {name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{2, 20}, got); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
	if want := "abbaabba"; order.String() != want {
		t.Errorf("order %s, want %s", &order, want)
	}
}

// A pattern that matches nothing is a mistake, and not an empty result.
func TestNoSuchMeasurement(t *testing.T) {
	cfg := config{rounds: 1, slice: time.Millisecond, run: regexp.MustCompile("no such measurement")}
	if tables, err := measure(t.Context(), cfg, func(string) {}); err == nil {
		t.Errorf("%d tables, want an error", len(tables))
	}
}
