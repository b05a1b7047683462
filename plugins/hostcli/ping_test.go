package hostcli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSummarize(t *testing.T) {
	thousand := make([]time.Duration, 1000)
	for i := range thousand {
		thousand[i] = time.Duration(len(thousand)-i) * time.Microsecond
	}
	for _, tt := range []struct {
		name  string
		times []time.Duration
		want  Latency
	}{
		{"one", []time.Duration{1500}, Latency{"latency", 1, 1.5, 1.5, 1.5, 1.5}},
		{"three, unsorted", []time.Duration{3000, 1000, 2000}, Latency{"latency", 3, 1, 2, 2, 3}},
		{"thousand", thousand, Latency{"latency", 1000, 1, 500, 990, 1000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, summarize(tt.times)); diff != "" {
				t.Errorf("latency (-want +got):\n%s", diff)
			}
		})
	}
}
