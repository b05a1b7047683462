// Package report turns the figures of all rounds into tables: medians with their ranges,
// ratios, and whether the aims are met.
package report

import (
	"maps"
	"math"
	"slices"

	"github.com/plugwire/plugwire/bench/internal/measure"
)

// Results has what all rounds have measured.
type Results struct {
	Peers []string // in the order of the columns

	rounds map[string][]measure.Values // by peer
}

// Add adds figures of a peer in a round, which counts from 0.
func (r *Results) Add(peer string, round int, v measure.Values) {
	if r.rounds == nil {
		r.rounds = make(map[string][]measure.Values)
	}
	for len(r.rounds[peer]) <= round {
		r.rounds[peer] = append(r.rounds[peer], measure.Values{})
	}
	maps.Copy(r.rounds[peer][round], v)
}

// A Summary is the median of some rounds, and the range of their values.
type Summary struct{ Median, Min, Max float64 }

// summarize returns false if there are no values.
func summarize(values []float64) (Summary, bool) {
	if len(values) == 0 {
		return Summary{}, false
	}
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return Summary{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}, true
}

// Values returns the figure of a peer in each round that has it.
func (r *Results) Values(peer, key string) []float64 {
	var values []float64
	for _, round := range r.rounds[peer] {
		if v, ok := round[key]; ok {
			values = append(values, v)
		}
	}
	return values
}

// Figure returns a figure of a peer, or false if it was not measured.
func (r *Results) Figure(peer, key string) (Summary, bool) { return summarize(r.Values(peer, key)) }

// Ratio returns the ratio of the medians of two peers, and the range of the ratios in
// the single rounds. The peers of a round ran one after the other, so a machine that was
// slow for a while changes the ratios less than the figures.
func (r *Results) Ratio(peer, base, key string) (Summary, bool) {
	of, okOf := r.Figure(peer, key)
	to, okTo := r.Figure(base, key)
	if !okOf || !okTo || to.Median == 0 {
		return Summary{}, false
	}
	ratio := Summary{of.Median / to.Median, math.Inf(1), math.Inf(-1)}
	for i := range min(len(r.rounds[peer]), len(r.rounds[base])) {
		a, okA := r.rounds[peer][i][key]
		b, okB := r.rounds[base][i][key]
		if okA && okB && b != 0 {
			ratio.Min, ratio.Max = min(ratio.Min, a/b), max(ratio.Max, a/b)
		}
	}
	return ratio, !math.IsInf(ratio.Min, 1)
}
