// Package measure measures one part of one peer: it starts the plugin, lets callers call,
// and returns figures.
package measure

import (
	"fmt"
	"slices"
	"strings"
)

// These are the keys of the figures that parts measure.
const (
	UnaryP50          = "unary_p50"
	UnaryP99          = "unary_p99"
	UnaryAllocs       = "unary_allocs"
	UnaryAllocsHost   = "unary_allocs_host"
	UnaryAllocsPlugin = "unary_allocs_plugin"
	MixedP50          = "mixed_p50"
	MetadataP50       = "metadata_p50"
	MetadataAllocs    = "metadata_allocs"
	UnaryRate         = "unary_rate"
	UnaryCPU          = "unary_cpu"
	UnaryCPUHost      = "unary_cpu_host"
	MixedRate         = "mixed_rate"
	MetadataRate      = "metadata_rate"
	Echo64K           = "echo_64k"
	Echo1M            = "echo_1m"
	Server1K          = "server_1k"
	Client1K          = "client_1k"
	Server64K         = "server_64k"
	Client64K         = "client_64k"
	BidiP50           = "bidi_p50"
	CallbackP50       = "callback_p50"
	BesideP50         = "beside_p50"
	BesideP99         = "beside_p99"
	BlockedWait       = "blocked_wait"
	BlockedCompute    = "blocked_compute"
	Start             = "start"
	Memory            = "memory"
	LossP999          = "loss_p999"
	LossRate          = "loss_rate"
)

// A Figure describes what a key means.
type Figure struct {
	Key   string
	Title string
	Unit  string
	More  bool // whether more is better
}

// Figures has all figures, in the order of reports.
var Figures = []Figure{
	{UnaryP50, "unary call of 64 bytes, 1 caller, quick handler, p50", "us", false},
	{UnaryP99, "the same, p99", "us", false},
	{MixedP50, "unary call, 1 caller, handler that locks and sleeps, p50", "us", false},
	{MetadataP50, "unary call, 1 caller, deadline and metadata, p50", "us", false},
	{UnaryRate, "unary calls, 64 callers, quick handler", "calls/s", true},
	{MixedRate, "the same, handler that locks and sleeps", "calls/s", true},
	{MetadataRate, "the same, deadline and metadata", "calls/s", true},
	{UnaryCPU, "processor time for a call, both sides, 64 callers", "us", false},
	{UnaryCPUHost, "the host's part of it", "us", false},
	{UnaryAllocs, "allocations for a call, both sides", "1/call", false},
	{UnaryAllocsHost, "the host's part of them", "1/call", false},
	{UnaryAllocsPlugin, "the plugin's part of them", "1/call", false},
	{MetadataAllocs, "allocations with deadline and metadata", "1/call", false},
	{Echo64K, "echo of 64 KiB, 1 caller", "MB/s", true},
	{Echo1M, "echo of 1 MiB, 1 caller", "MB/s", true},
	{Server1K, "server stream of 1 KiB messages", "msg/s", true},
	{Client1K, "client stream of 1 KiB messages", "msg/s", true},
	{Server64K, "server stream of 64 KiB messages", "MB/s", true},
	{Client64K, "client stream of 64 KiB messages", "MB/s", true},
	{BidiP50, "ping-pong on a stream, p50", "us", false},
	{CallbackP50, "call whose handler calls the host, p50", "us", false},
	{BesideP50, "64-byte call beside 8 callers that echo 1 MiB, p50", "us", false},
	{BesideP99, "the same, p99", "us", false},
	{BlockedWait, "longest call beside a handler that sleeps 30 ms", "ms", false},
	{BlockedCompute, "longest call beside a handler that computes 30 ms", "ms", false},
	{Start, "start to first answer", "ms", false},
	{Memory, "anonymous memory of a plugin at rest", "MB", false},
	{LossRate, "unary calls, 64 callers, 2 % of packets lost", "calls/s", true},
	{LossP999, "the same, p99.9", "ms", false},
}

// Find returns the figure with a key.
func Find(key string) (Figure, bool) {
	i := slices.IndexFunc(Figures, func(f Figure) bool { return f.Key == key })
	if i < 0 {
		return Figure{}, false
	}
	return Figures[i], true
}

// Values are figures by their keys.
type Values map[string]float64

// String returns the figures in the order of reports.
func (v Values) String() string {
	var parts []string
	for _, f := range Figures {
		if value, ok := v[f.Key]; ok {
			parts = append(parts, fmt.Sprintf("%s %.4g %s", f.Key, value, f.Unit))
		}
	}
	return strings.Join(parts, ", ")
}
