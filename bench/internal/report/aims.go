package report

import (
	"fmt"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

// An Aim is a promise of the project about a figure of a peer. With a base it is about
// the ratio to that peer, otherwise about the figure itself.
type Aim struct {
	Key, Peer, Base string
	AtLeast         bool // the limit is a lower one
	Limit           float64
}

// Aims are those of the wire pw. A peer that is not measured has none.
func Aims() []Aim {
	pw, tcp, quic := peers.Plugwire("pw", "unix"), peers.Plugwire("pw", "tcp"), peers.Plugwire("pw", "quic")
	const gp, mtls = peers.GoPlugin, peers.GoPluginMTLS
	atMost := func(key, base string, limit float64) Aim { return Aim{key, pw, base, false, limit} }
	atLeast := func(key, base string, limit float64) Aim { return Aim{key, pw, base, true, limit} }
	return []Aim{
		atMost(measure.UnaryP50, gp, 0.25),
		atMost(measure.MixedP50, gp, 0.38),
		atLeast(measure.UnaryRate, gp, 5),
		atLeast(measure.MixedRate, gp, 3.5),
		atLeast(measure.MetadataRate, gp, 3.5),
		atMost(measure.UnaryCPU, gp, 0.20),
		atMost(measure.UnaryAllocs, "", 12),
		atMost(measure.MetadataAllocs, "", 26),
		atLeast(measure.Echo64K, gp, 2.5),
		atLeast(measure.Echo1M, gp, 1.8),
		atLeast(measure.Server1K, gp, 1.8),
		atLeast(measure.Client1K, gp, 2),
		atLeast(measure.Server64K, gp, 1.4),
		atLeast(measure.Client64K, gp, 1.6),
		atLeast(measure.Server64K, peers.DRPC, 1),
		atLeast(measure.Client64K, peers.DRPC, 1),
		atMost(measure.BidiP50, gp, 0.40),
		atMost(measure.CallbackP50, peers.Plugwire("h2", "unix"), 0.35),
		atMost(measure.BesideP50, gp, 1),
		atMost(measure.BesideP99, gp, 1),
		atMost(measure.BlockedWait, "", 4),
		atMost(measure.BlockedCompute, gp, 1), // go-plugin runs each call in a goroutine
		atMost(measure.Start, gp, 1),
		{measure.UnaryP50, tcp, mtls, false, 0.35},
		{measure.UnaryRate, tcp, mtls, true, 2.5},
		{measure.LossP999, quic, tcp, false, 0.3},
		atMost(measure.Memory, gp, 1),
	}
}

// String returns the limit.
func (a Aim) String() string {
	sign := "<="
	if a.AtLeast {
		sign = ">="
	}
	if a.Base == "" {
		return fmt.Sprintf("%s %g", sign, a.Limit)
	}
	return fmt.Sprintf("%s %g x", sign, a.Limit)
}

// Check returns the figure or ratio that the aim is about, and whether it keeps to the
// limit. It returns false for ok if something was not measured.
func (a Aim) Check(r *Results) (value Summary, met, ok bool) {
	if a.Base == "" {
		value, ok = r.Figure(a.Peer, a.Key)
	} else {
		value, ok = r.Ratio(a.Peer, a.Base, a.Key)
	}
	if a.AtLeast {
		return value, value.Median >= a.Limit, ok
	}
	return value, value.Median <= a.Limit, ok
}
