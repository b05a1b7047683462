package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/shirou/gopsutil/v4/process"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/message"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/target"
)

// The histogram has latencies from a microsecond up to an hour, to three digits.
const (
	lowest  = int64(time.Microsecond)
	highest = int64(time.Hour)
	digits  = 3
)

// side is one plugin that is measured.
type side struct {
	*command
	ref    target.Ref
	flags  target.Flags
	plugin *target.Plugin

	name    string // of the method
	stream  *grpc.StreamDesc
	request *emptypb.Empty

	latencies *hdrhistogram.Histogram
	errors    int64
	firstErr  error
	busy      time.Duration // how long this side was measured
	cpu       time.Duration // what the plugin's process has used meanwhile
	resident  uint64        // the most memory that was seen
	start     time.Duration
}

// open starts the plugin and prepares the call. rest is the method and the request, if
// there are any.
func (s *side) open(ctx context.Context, rest []string) (err error) {
	s.latencies = newHistogram()
	if s.plugin, err = s.flags.Open(ctx, s.ref, s.out); err != nil {
		return err
	}
	s.start = s.plugin.Info().StartDuration
	if len(rest) == 0 {
		s.name = "/grpc.health.v1.Health/Check"
		s.request, err = opaque(&healthpb.HealthCheckRequest{Service: "plugin"})
		return err
	}
	described, err := schema.FromReflection(ctx, s.plugin)
	if err != nil {
		return &output.Error{Code: output.ExitFailed, Err: err}
	}
	defer described.Close()
	method, err := described.Method(rest[0])
	if err != nil {
		return output.Usage("%w", err)
	}
	s.name = fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	if method.IsStreamingClient() || method.IsStreamingServer() {
		s.stream = &grpc.StreamDesc{ClientStreams: method.IsStreamingClient(), ServerStreams: method.IsStreamingServer()}
	}
	text := ""
	if len(rest) > 1 {
		text = rest[1]
	}
	in, err := message.Open(text, strings.NewReader(""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	m, err := in.Only(method.Input(), described.Types())
	if err != nil {
		return err
	}
	s.request, err = opaque(m)
	return err
}

// opaque returns a message with the same bytes, whose fields nobody has to understand. So
// the host measures the plugin, and not the cost of messages without generated code.
func opaque(m proto.Message) (*emptypb.Empty, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	e := &emptypb.Empty{}
	e.ProtoReflect().SetUnknown(b)
	return e, nil
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(lowest, highest, digits) }

// measure loads the plugin for a while, and records what it used.
func (s *side) measure(ctx context.Context, d time.Duration) error {
	before := s.usage()
	begun := time.Now()
	if err := s.load(ctx, d, s); err != nil {
		return err
	}
	s.busy += time.Since(begun)
	s.cpu += s.usage() - before
	return nil
}

// usage returns the processor time of the plugin so far, and notes its memory. It is 0
// if the system does not say.
func (s *side) usage() time.Duration {
	p, err := process.NewProcess(int32(s.plugin.Info().PID))
	if err != nil {
		return 0
	}
	if memory, err := p.MemoryInfo(); err == nil {
		s.resident = max(s.resident, memory.RSS)
	}
	times, err := p.Times()
	if err != nil {
		return 0
	}
	return time.Duration((times.User + times.System) * float64(time.Second))
}

// load calls the plugin with all callers for a while. The results go into the side, unless
// it is nil.
func (s *side) load(ctx context.Context, d time.Duration, into *side) error {
	end := time.Now().Add(d)
	var mu sync.Mutex // guards into
	var callers sync.WaitGroup
	for range s.callers {
		callers.Go(func() {
			own := newHistogram()
			var made, failed int64
			var firstErr error
			// Each caller makes at least one call, however busy the machine is.
			for begun := time.Now(); ctx.Err() == nil && s.plugin.Err() == nil; begun = time.Now() {
				if made > 0 && !begun.Before(end) {
					break
				}
				made++
				if err := s.call(ctx); err != nil {
					failed++
					if firstErr == nil {
						firstErr = err
					}
					continue
				}
				// A latency beyond the histogram is above an hour: a deadline ends such a call.
				_ = own.RecordValue(max(lowest, int64(time.Since(begun))))
			}
			if into == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			into.latencies.Merge(own)
			into.errors += failed
			if into.firstErr == nil {
				into.firstErr = firstErr
			}
		})
	}
	callers.Wait()
	if err := s.plugin.Err(); err != nil {
		return &output.Error{Code: output.ExitLost, Err: err}
	}
	return ctx.Err()
}

// call makes one call and takes all its answers.
func (s *side) call(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	var answer emptypb.Empty
	if s.stream == nil {
		return s.plugin.Invoke(ctx, s.name, s.request, &answer)
	}
	stream, err := s.plugin.NewStream(ctx, s.stream, s.name)
	if err != nil {
		return err
	}
	// The error of a call is what RecvMsg returns.
	if stream.SendMsg(s.request) == nil {
		_ = stream.CloseSend()
	}
	for {
		err := stream.RecvMsg(&answer)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !s.stream.ServerStreams:
			return nil
		}
	}
}

// quantiles are those of the report.
var quantiles = []float64{50, 90, 99, 99.9}

// result returns what was measured.
func (s *side) result() Result {
	info := s.plugin.Info()
	calls := s.latencies.TotalCount()
	r := Result{
		Plugin: s.plugin.Label(), Name: shortName(s.ref), Transport: info.Transport.String(), Wire: info.Wire, Security: info.Security,
		StartMS: milliseconds(s.start), Seconds: s.busy.Seconds(), Calls: calls, Errors: s.errors,
		PerSecond: float64(calls) / s.busy.Seconds(), Resident: s.resident, CPUSeconds: s.cpu.Seconds(),
		Latency: map[string]float64{}, quantiles: map[string]time.Duration{},
	}
	if s.firstErr != nil {
		r.FirstError = s.firstErr.Error()
	}
	if calls == 0 {
		return r
	}
	for _, q := range slices.Sorted(slices.Values(quantiles)) {
		r.set(fmt.Sprintf("p%g", q), time.Duration(s.latencies.ValueAtQuantile(q)))
	}
	r.set("max", time.Duration(s.latencies.Max()))
	return r
}
