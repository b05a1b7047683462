package report

import (
	"encoding/json"
	"io"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

// line is the JSON object of a figure of a peer.
type line struct {
	Peer    string    `json:"peer"`
	Measure string    `json:"measure"`
	Unit    string    `json:"unit"`
	More    bool      `json:"more_is_better"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Rounds  []float64 `json:"rounds"`
	Ratio   *float64  `json:"ratio_to_go_plugin,omitempty"`
}

// WriteJSON writes an object for each figure of each peer, one on each line.
func (r *Results) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, peer := range r.Peers {
		for _, f := range measure.Figures {
			s, ok := r.Figure(peer, f.Key)
			if !ok {
				continue
			}
			l := line{peer, f.Key, f.Unit, f.More, s.Median, s.Min, s.Max, r.Values(peer, f.Key), nil}
			if ratio, ok := r.Ratio(peer, peers.GoPlugin, f.Key); ok {
				l.Ratio = &ratio.Median
			}
			if err := enc.Encode(l); err != nil {
				return err
			}
		}
	}
	return nil
}
