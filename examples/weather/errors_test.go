//go:build unix

package weather_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/console"
	"github.com/plugwire/plugwire/examples/weather/station"
)

var errDisk = errors.New("the disk is on fire")

// faults are what a handler may do instead of answering.
var faults = map[string]func(f *faulty, ctx context.Context) (*weather.Reading, error){
	"plain": func(*faulty, context.Context) (*weather.Reading, error) { return nil, errDisk },
	"wrapped": func(*faulty, context.Context) (*weather.Reading, error) {
		return nil, fmt.Errorf("read: %w", status.Error(codes.DataLoss, "bad sector"))
	},
	"late": func(*faulty, context.Context) (*weather.Reading, error) {
		return nil, fmt.Errorf("wait: %w", context.DeadlineExceeded)
	},
	"canceled": func(*faulty, context.Context) (*weather.Reading, error) {
		return nil, context.Canceled
	},
	"panic":   func(*faulty, context.Context) (*weather.Reading, error) { panic("no such thing") },
	"nothing": func(*faulty, context.Context) (*weather.Reading, error) { return nil, nil }, //nolint:nilnil // the mistake
	"unavailable": func(*faulty, context.Context) (*weather.Reading, error) {
		return nil, status.Error(codes.Unavailable, "calibrating")
	},
	"exit": func(*faulty, context.Context) (*weather.Reading, error) { os.Exit(3); return nil, nil }, //nolint:nilnil // never reached
	"crash": func(*faulty, context.Context) (*weather.Reading, error) {
		go panic("in a goroutine of its own")
		select {}
	},
	"wait": func(f *faulty, ctx context.Context) (*weather.Reading, error) {
		f.began <- struct{}{}
		<-ctx.Done()
		f.ended <- struct{}{}
		return nil, ctx.Err()
	},
	"bytes": func(_ *faulty, ctx context.Context) (*weather.Reading, error) {
		n, err := receive(ctx)
		return &weather.Reading{TimeMillis: n}, err
	},
	"log": func(_ *faulty, ctx context.Context) (*weather.Reading, error) {
		logLines(ctx)
		return &weather.Reading{}, nil
	},
	"metadata": func(_ *faulty, ctx context.Context) (*weather.Reading, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		return &weather.Reading{Sensor: strings.Join(md.Get("tenant"), "")}, nil
	},
	"deadline": func(_ *faulty, ctx context.Context) (*weather.Reading, error) {
		deadline, ok := ctx.Deadline()
		if !ok {
			return &weather.Reading{}, nil
		}
		return &weather.Reading{TimeMillis: deadline.UnixMilli()}, nil
	},
}

// TestWhatArrives is the table of docs/handlers-and-errors.md.
func TestWhatArrives(t *testing.T) {
	t.Parallel()
	client := start(t, newFaulty())
	for sensor, want := range map[string]struct {
		code    codes.Code
		message string
	}{
		"absent":      {codes.NotFound, `sensor "absent" has no readings`},
		"plain":       {codes.Unknown, "the disk is on fire"},
		"wrapped":     {codes.DataLoss, "read: rpc error: code = DataLoss desc = bad sector"},
		"late":        {codes.DeadlineExceeded, "wait: context deadline exceeded"},
		"canceled":    {codes.Canceled, "context canceled"},
		"panic":       {codes.Internal, "panic in the handler of /weather.Station/GetReading: no such thing"},
		"unavailable": {codes.Unavailable, "calibrating"},
	} {
		_, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: sensor})
		if s := status.Convert(err); s.Code() != want.code || s.Message() != want.message {
			t.Errorf("%s: %v %q, want %v %q", sensor, s.Code(), s.Message(), want.code, want.message)
		}
		if errors.Is(err, errDisk) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v is more than a status", sensor, err)
		}
	}
	reading, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "nothing"})
	if err != nil || !proto.Equal(reading, &weather.Reading{}) {
		t.Errorf("neither an answer nor an error: %v, %v", reading, err)
	}
}

func TestDetails(t *testing.T) {
	t.Parallel()
	client := start(t, station.New())
	_, err := client.AddReading(t.Context(), &weather.AddReadingRequest{Reading: &weather.Reading{Celsius: -300}})
	const want = "the reading is not valid; reading.sensor: want 1 to 64 bytes; reading.time_millis: want more than 0; reading.celsius: want -273.15 or more"
	if got := console.Explain(err); status.Code(err) != codes.InvalidArgument || got != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
}

// A station keeps only the known fields of a reading. The others may have any
// size.
func TestUnknownFields(t *testing.T) {
	t.Parallel()
	s := station.New()
	sent := reading("a", 1)
	sent.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), make([]byte, 1<<20)))
	client := start(t, s)
	if _, err := client.AddReading(t.Context(), &weather.AddReadingRequest{Reading: sent}); err != nil {
		t.Fatal(err)
	}
	got, err := s.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "a"})
	if err != nil || !proto.Equal(got, reading("a", 1)) {
		t.Errorf("%d bytes are kept, %v", proto.Size(got), err)
	}
}

// TestContexts checks which parts of the host's context reach the handler, and
// when.
func TestContexts(t *testing.T) {
	t.Parallel()
	f := newFaulty()
	client := start(t, f)
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(metadata.AppendToOutgoingContext(t.Context(), "tenant", "x"), deadline)
	defer cancel()
	reading, err := client.GetReading(ctx, &weather.GetReadingRequest{Sensor: "deadline"})
	if off := reading.GetTimeMillis() - deadline.UnixMilli(); err != nil || off < -60_000 || off > 60_000 {
		t.Errorf("the deadline is off by %d ms, %v", off, err)
	}
	if reading, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "deadline"}); err != nil || reading.GetTimeMillis() != 0 {
		t.Errorf("without a deadline: %v, %v", reading, err)
	}
	if reading, err := client.GetReading(ctx, &weather.GetReadingRequest{Sensor: "metadata"}); err != nil || reading.GetSensor() != "x" {
		t.Errorf("metadata: %v, %v", reading, err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	called := make(chan error, 1)
	go func() {
		_, err := client.GetReading(ctx, &weather.GetReadingRequest{Sensor: "wait"})
		called <- err
	}()
	<-f.began
	cancel()
	if err := <-called; status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	<-f.ended

	for within := 50 * time.Millisecond; len(f.ended) == 0; within *= 2 { // a busy machine may not begin the call before
		if within > time.Minute {
			t.Fatal("the handler has not ended with its context")
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		_, err = client.GetReading(ctx, &weather.GetReadingRequest{Sensor: "wait"})
		cancel()
		if status.Code(err) != codes.DeadlineExceeded || console.Explain(err) != "the plugin did not answer within the time limit" {
			t.Errorf("after the deadline: %v", err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	client := start(t, station.New(), host.WithMaxMessageSize(1000))
	_, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: string(bytes.Repeat([]byte("x"), 2000))})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "host.WithMaxMessageSize and plugin.WithMaxMessageSize") {
		t.Errorf("%v", err)
	}
}

// TestEnds checks calls whose plugin's process ends.
func TestEnds(t *testing.T) {
	t.Parallel()
	for sensor, want := range map[string]struct {
		status host.ExitStatus
		panics string
	}{
		"exit":  {status: host.ExitStatus{Code: 3}},
		"crash": {status: host.ExitStatus{Code: 2}, panics: "in a goroutine of its own"},
		"kill":  {status: host.ExitStatus{Signal: "killed"}},
	} {
		t.Run(sensor, func(t *testing.T) {
			t.Parallel()
			p := launch(t)
			client := weather.NewStationClient(p)
			if sensor == "kill" {
				if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				<-p.Done()
			}
			for _, when := range []string{"in flight", "later"} {
				_, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: sensor})
				exit, ok := errors.AsType[*host.ExitError](err)
				if status.Code(err) != codes.Unavailable || !ok || exit.Status != want.status || !strings.HasSuffix(exit.Panic, want.panics) {
					t.Errorf("%s: %v", when, err)
				}
				if got := console.Explain(err); !strings.HasPrefix(got, "the plugin ended (") {
					t.Errorf("%s: %s", when, got)
				}
			}
			<-p.Done()
			if _, ok := errors.AsType[*host.ExitError](p.Err()); !ok {
				t.Errorf("Err: %v", p.Err())
			}
		})
	}
}

// TestClosed makes a call after the host itself has stopped the plugin.
func TestClosed(t *testing.T) {
	t.Parallel()
	p := launch(t)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := console.Latest(t.Context(), weather.NewStationClient(p), "a")
	if _, ok := errors.AsType[*host.ExitError](err); ok || status.Code(err) != codes.Unavailable || p.Err() != nil {
		t.Errorf("%v, Err: %v", err, p.Err())
	}
	if got := console.Explain(err); !strings.HasPrefix(got, "the plugin cannot be called now: ") {
		t.Error(got)
	}
}

// TestBackground checks a goroutine that outlives the call that started it.
func TestBackground(t *testing.T) {
	t.Parallel()
	var logged atomic.Bool
	done := make(chan error, 1)
	client := start(t, background{station.New(), func(ctx context.Context) {
		logged.Store(plugin.Logger(ctx) != nil)
		done <- ctx.Err()
	}})
	if _, err := client.AddReading(t.Context(), &weather.AddReadingRequest{Reading: &weather.Reading{Sensor: "a", TimeMillis: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || !logged.Load() {
		t.Errorf("the goroutine's context has ended: %v", err)
	}
}

// background does something after each reading, and the answer does not wait for
// it.
type background struct {
	*station.Station
	after func(ctx context.Context)
}

func (b background) AddReading(ctx context.Context, request *weather.AddReadingRequest) (*weather.AddReadingResponse, error) {
	response, err := b.Station.AddReading(ctx, request)
	ctx = context.WithoutCancel(ctx) // ctx ends with the call
	go b.after(ctx)
	return response, err
}
