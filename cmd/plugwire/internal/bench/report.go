package bench

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what the command measures. Its JSON is the interface of -json: fields are
// only added.
type Report struct {
	Method  string   `json:"method"`
	Callers int      `json:"callers"`
	Sides   []Result `json:"sides"`
}

// Result is what one plugin has achieved.
type Result struct {
	Plugin     string  `json:"plugin"`
	Name       string  `json:"-"`
	Transport  string  `json:"transport"`
	Wire       string  `json:"wire"`
	Security   string  `json:"security"`
	StartMS    float64 `json:"start_ms"`
	Seconds    float64 `json:"seconds"`
	Calls      int64   `json:"calls"`
	Errors     int64   `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`
	PerSecond  float64 `json:"calls_per_second"`
	// Latency is in milliseconds, by p50, p90, p99, p99.9 and max.
	Latency    map[string]float64 `json:"latency_ms"`
	CPUSeconds float64            `json:"cpu_seconds"`
	Resident   uint64             `json:"resident_bytes"`

	quantiles map[string]time.Duration
}

func (r *Result) set(name string, d time.Duration) {
	r.Latency[name], r.quantiles[name] = milliseconds(d), d
}

// row is a line of the table.
type row struct {
	name  string
	value func(Result) (float64, string)
}

// rows are the lines of the table, whose numbers are compared.
func rows() []row {
	found := []row{
		{"start", func(r Result) (float64, string) { return r.StartMS, fmt.Sprintf("%.1f ms", r.StartMS) }},
		{"calls", func(r Result) (float64, string) { return float64(r.Calls), strconv.FormatInt(r.Calls, 10) }},
		{"calls/s", func(r Result) (float64, string) { return r.PerSecond, fmt.Sprintf("%.0f", r.PerSecond) }},
		{"errors", func(r Result) (float64, string) { return float64(r.Errors), strconv.FormatInt(r.Errors, 10) }},
	}
	for _, q := range []string{"p50", "p90", "p99", "p99.9", "max"} {
		found = append(found, row{q, func(r Result) (float64, string) {
			if r.Calls == 0 {
				return 0, "-"
			}
			return r.Latency[q], micro(r.quantiles[q])
		}})
	}
	return append(found,
		row{"processor", func(r Result) (float64, string) {
			used := r.CPUSeconds / r.Seconds
			return used, fmt.Sprintf("%.2f cores", used)
		}},
		row{"a call", func(r Result) (float64, string) {
			if r.Calls == 0 {
				return 0, "-"
			}
			perCall := time.Duration(r.CPUSeconds / float64(r.Calls) * float64(time.Second))
			return float64(perCall), micro(perCall)
		}},
		row{"memory", func(r Result) (float64, string) {
			const mib = 1 << 20
			return float64(r.Resident), fmt.Sprintf("%.1f MiB", float64(r.Resident)/mib)
		}},
	)
}

// print prints the report.
func (c *command) print(report Report) error {
	if c.out.JSON {
		return c.out.Object(report)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d at a time, for %v\n", strings.TrimPrefix(report.Method, "/"), report.Callers, c.duration)
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', tabwriter.AlignRight)
	line := func(name string, cell func(Result) string, last string) {
		_, _ = fmt.Fprintf(w, "%s\t", name)
		for _, r := range report.Sides {
			_, _ = fmt.Fprintf(w, "%s\t", cell(r))
		}
		if len(report.Sides) > 1 {
			_, _ = fmt.Fprintf(w, "%s\t", last)
		}
		_, _ = fmt.Fprintln(w)
	}
	line("", func(r Result) string { return r.Name }, "ratio")
	line("", func(r Result) string { return r.Transport + " " + r.Wire }, "")
	for _, row := range rows() {
		ratio := "-"
		if len(report.Sides) > 1 {
			first, _ := row.value(report.Sides[0])
			second, _ := row.value(report.Sides[1])
			if first > 0 {
				ratio = fmt.Sprintf("%.2f", second/first)
			}
		}
		line(row.name, func(r Result) string { _, text := row.value(r); return text }, ratio)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range report.Sides {
		if r.FirstError != "" {
			fmt.Fprintf(&b, "the first error of %s: %s\n", r.Name, r.FirstError)
		}
	}
	return c.out.Text(b.String())
}
