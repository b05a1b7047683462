package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/hosts"
)

// Row is a plugin of a host. Its JSON is the interface of -json: fields are only added. What
// is about time is about the time since the last sample.
type Row struct { //nolint:recvcheck // only the decoder changes it
	Host           string   `json:"host"`
	HostPID        int      `json:"host_pid"`
	Plugin         string   `json:"plugin"`
	ID             int      `json:"id"`
	PID            int      `json:"pid,omitempty"`
	State          string   `json:"state"`
	Since          float64  `json:"since_seconds"` // how long it has this state
	Supervised     bool     `json:"supervised"`
	Starts         int      `json:"starts"`
	Restarts       int      `json:"restarts"`
	Error          string   `json:"error,omitempty"`
	Calls          uint64   `json:"calls"` // all that have ended
	InFlight       uint64   `json:"in_flight"`
	CallsPerSecond float64  `json:"calls_per_second"`
	P50            *float64 `json:"p50_ms"` // null without calls
	P99            *float64 `json:"p99_ms"`
	Errors         uint64   `json:"errors"` // of all calls
	ErrorsPerSec   float64  `json:"errors_per_second"`
	CPU            *float64 `json:"cpu_percent"` // of one processor; null if it is not known
	Memory         *uint64  `json:"memory_bytes"`
}

// Problem is a host that could not be read.
type Problem struct {
	Socket string `json:"socket"`
	Error  string `json:"error"`
}

// Sample is the plugins of all hosts at one time.
type Sample struct {
	Time     time.Time `json:"time"`
	Plugins  []Row     `json:"plugins"`
	Problems []Problem `json:"problems,omitempty"`
}

// key tells plugins of all hosts apart.
type key struct {
	path string // of the host's socket
	id   int
}

// last is what the sampler remembers of a plugin.
type last struct {
	time    time.Time // of the host's answer
	calls   uint64
	errors  uint64
	buckets map[uint64]uint64
	pid     int
	cpuTime time.Time
	cpu     float64 // seconds
}

// sampler makes samples. Rates come from two samples.
type sampler struct {
	last map[key]last
	all  bool // shows plugins that have ended long ago
}

// endedFor is how long a plugin that has ended is shown.
const endedFor = time.Minute

// sample makes a sample of the answers of all hosts.
func (s *sampler) sample(answers []hosts.Answer, now time.Time) *Sample {
	sample := &Sample{Time: now, Plugins: []Row{}}
	remember := make(map[key]last)
	for _, a := range answers {
		if a.Err != nil {
			sample.Problems = append(sample.Problems, Problem{a.Path, a.Err.Error()})
			continue
		}
		for _, p := range a.Report.Plugins {
			if !s.all && p.Ended() && a.Report.Time.Sub(p.Since) > endedFor {
				continue
			}
			k := key{a.Path, p.ID}
			before, known := s.last[k]
			row, current := rowOf(a.Report, p)
			if known {
				row.rates(before, current)
			}
			remember[k] = current
			sample.Plugins = append(sample.Plugins, row)
		}
	}
	s.last = remember
	return sample
}

// rowOf returns the row of a plugin without rates.
func rowOf(r *hosts.Report, p hosts.Plugin) (Row, last) {
	current := last{time: r.Time, calls: p.Calls.Ended, buckets: make(map[uint64]uint64), pid: p.PID}
	for _, n := range p.Calls.Errors {
		current.errors += n
	}
	for _, b := range p.Calls.Durations {
		current.buckets[b[0]] = b[1]
	}
	row := Row{
		Host: r.Host.Name, HostPID: r.Host.PID, Plugin: p.Name, ID: p.ID, PID: p.PID, State: p.State,
		Since: max(0, r.Time.Sub(p.Since).Seconds()), Supervised: p.Supervised, Starts: p.Starts, Restarts: p.Restarts,
		Error: p.Error, Calls: p.Calls.Ended, InFlight: p.Calls.Begun - min(p.Calls.Begun, p.Calls.Ended), Errors: current.errors,
	}
	if p.PID > 0 {
		row.measure(&current)
	}
	return row, current
}

// measure asks the system about the plugin's process.
func (r *Row) measure(current *last) {
	p := &process.Process{Pid: int32(r.PID)}
	if memory, err := p.MemoryInfo(); err == nil {
		r.Memory = &memory.RSS
	}
	if times, err := p.Times(); err == nil {
		current.cpuTime, current.cpu = time.Now(), times.User+times.System
	}
}

// rates fills in what happened since the sample before.
func (r *Row) rates(before, current last) {
	if seconds := current.time.Sub(before.time).Seconds(); seconds > 0 && current.calls >= before.calls {
		r.CallsPerSecond = float64(current.calls-before.calls) / seconds
		if current.errors >= before.errors {
			r.ErrorsPerSec = float64(current.errors-before.errors) / seconds
		}
		r.P50, r.P99 = quantile(before.buckets, current.buckets, 0.5), quantile(before.buckets, current.buckets, 0.99)
	}
	if seconds := current.cpuTime.Sub(before.cpuTime).Seconds(); current.pid == before.pid && !before.cpuTime.IsZero() && !current.cpuTime.IsZero() && seconds > 0 {
		const percent = 100
		used := max(0, current.cpu-before.cpu) / seconds * percent
		r.CPU = &used
	}
}

// quantile returns the time in milliseconds that the given part of the calls between two
// samples took at most; nil if there were none.
func quantile(before, current map[uint64]uint64, part float64) *float64 {
	bounds := make([]uint64, 0, len(current))
	var total uint64
	for bound, n := range current {
		if n > before[bound] {
			bounds = append(bounds, bound)
			total += n - before[bound]
		}
	}
	if total == 0 {
		return nil
	}
	slices.Sort(bounds)
	var sum uint64
	for _, bound := range bounds {
		sum += current[bound] - before[bound]
		if float64(sum) >= part*float64(total) {
			ms := float64(bound) / float64(time.Millisecond)
			return &ms
		}
	}
	return nil
}

// orders are the orders of rows, by the names of -sort. Those by a value begin with the
// greatest.
var orders = map[string]func(a, b Row) int{
	"host":     func(a, b Row) int { return 0 },
	"plugin":   func(a, b Row) int { return strings.Compare(a.Plugin, b.Plugin) },
	"state":    func(a, b Row) int { return strings.Compare(a.State, b.State) },
	"pid":      func(a, b Row) int { return cmp.Compare(a.PID, b.PID) },
	"restarts": func(a, b Row) int { return cmp.Compare(b.Restarts, a.Restarts) },
	"calls":    func(a, b Row) int { return cmp.Compare(b.CallsPerSecond, a.CallsPerSecond) },
	"p50":      func(a, b Row) int { return cmp.Compare(value(b.P50), value(a.P50)) },
	"p99":      func(a, b Row) int { return cmp.Compare(value(b.P99), value(a.P99)) },
	"errors":   func(a, b Row) int { return cmp.Compare(b.Errors, a.Errors) },
	"cpu":      func(a, b Row) int { return cmp.Compare(value(b.CPU), value(a.CPU)) },
	"memory":   func(a, b Row) int { return cmp.Compare(value(b.Memory), value(a.Memory)) },
}

// value returns what p points to, and less than any value for nil.
func value[T float64 | uint64](p *T) float64 {
	if p == nil {
		return -1
	}
	return float64(*p)
}

// sort sorts the rows; rows that are equal in the order are sorted by host and plugin.
func (s *Sample) sort(order string) {
	slices.SortStableFunc(s.Plugins, func(a, b Row) int {
		return cmp.Or(orders[order](a, b), strings.Compare(a.Host, b.Host), cmp.Compare(a.HostPID, b.HostPID), strings.Compare(a.Plugin, b.Plugin), cmp.Compare(a.ID, b.ID))
	})
}

// columns are the heads of the table, on the terminal and on the page.
var columns = []string{"HOST", "PID", "PLUGIN", "PID", "STATE", "FOR", "RESTARTS", "CALLS/S", "P50", "P99", "ERRORS", "CPU", "MEMORY"}

// cells returns the texts of a row, one for each column.
func (r Row) cells() []string {
	pid := "-"
	if r.PID > 0 {
		pid = strconv.Itoa(r.PID)
	}
	cpu, memory := "-", "-"
	if r.CPU != nil {
		cpu = fmt.Sprintf("%.1f%%", *r.CPU)
	}
	if r.Memory != nil {
		const mib = 1 << 20
		memory = fmt.Sprintf("%.1f MiB", float64(*r.Memory)/mib)
	}
	return []string{
		r.Host, strconv.Itoa(r.HostPID), r.Plugin, pid, r.State, age(r.Since), strconv.Itoa(r.Restarts),
		fmt.Sprintf("%.1f", r.CallsPerSecond), milliseconds(r.P50), milliseconds(r.P99), strconv.FormatUint(r.Errors, 10), cpu, memory,
	}
}

// milliseconds returns a time with three digits, in the unit that people read best.
func milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 1:
		return fmt.Sprintf("%.0f µs", *ms*1000)
	case *ms < 1000: //nolint:mnd // a second
		return fmt.Sprintf("%.3g ms", *ms)
	default:
		return fmt.Sprintf("%.3g s", *ms/1000)
	}
}

// age returns how long something lasts, in its two largest units.
func age(seconds float64) string {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	switch s := int(seconds); {
	case s < minute:
		return fmt.Sprintf("%ds", s)
	case s < hour:
		return fmt.Sprintf("%dm%02ds", s/minute, s%minute)
	case s < day:
		return fmt.Sprintf("%dh%02dm", s/hour, s%hour/minute)
	default:
		return fmt.Sprintf("%dd%02dh", s/day, s%day/hour)
	}
}
