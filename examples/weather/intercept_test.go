//go:build unix

package weather_test

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/console"
	"github.com/plugwire/plugwire/examples/weather/station"
	"github.com/plugwire/plugwire/transport/unix"
)

// lateLog holds what a plugin logs until the plugin has stopped.
type lateLog struct {
	logger *slog.Logger
	lines  bytes.Buffer
}

func newLateLog(opts *slog.HandlerOptions) *lateLog {
	l := new(lateLog)
	l.logger = slog.New(slog.NewTextHandler(&l.lines, opts)) // whose lock also covers the buffer
	return l
}

// TestInterceptors compares the ids in a plugin's log with those that the host gave.
func TestInterceptors(t *testing.T) {
	t.Parallel()
	log := newLateLog(nil)
	p := plugintest.StartWith(t, weather.ServeStation(station.New()), unix.New(),
		[]plugin.Option{station.Interceptors(), plugin.WithLogger(log.logger)}, console.Interceptors())
	client := weather.NewStationClient(p)
	chosen := metadata.AppendToOutgoingContext(t.Context(), weather.RequestIDKey, "chosen")
	if _, err := client.GetReading(chosen, &weather.GetReadingRequest{Sensor: "a"}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
	for range console.List(t.Context(), client, "a") {
		t.Error("a station without readings has one")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`msg=call method=/weather.Station/GetReading request_id=chosen code=NotFound took=\S+\n`,
		`msg=call method=/weather.Station/ListReadings request_id=[A-Z2-7]{26} code=OK took=\S+\n`,
	} {
		if !regexp.MustCompile(want).MatchString(log.lines.String()) {
			t.Errorf("no line matches %s in\n%s", want, &log.lines)
		}
	}
}

// TestInterceptorDeadline calls a handler that waits for the end of its context.
func TestInterceptorDeadline(t *testing.T) {
	t.Parallel()
	client := start(t, newFaulty(), console.Interceptors())
	reading, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "deadline"})
	if err != nil || reading.GetTimeMillis() == 0 {
		t.Errorf("a call without a deadline got none: %v, %v", reading, err)
	}
}

// asking is a station whose handler calls the station that the host serves.
type asking struct{ *station.Station }

func (asking) GetReading(ctx context.Context, request *weather.GetReadingRequest) (*weather.Reading, error) {
	return weather.NewStationClient(plugin.Host(ctx)).GetReading(ctx, request)
}

// telling is a station that answers with the id of the call.
type telling struct{ *station.Station }

func (telling) GetReading(ctx context.Context, _ *weather.GetReadingRequest) (*weather.Reading, error) {
	return &weather.Reading{Sensor: weather.RequestID(ctx)}, nil
}

// TestHostInterceptors follows an id from the host through the plugin to the host.
func TestHostInterceptors(t *testing.T) {
	t.Parallel()
	for _, passesOn := range []bool{true, false} {
		var opts []plugin.Option
		want := ""
		if passesOn {
			opts, want = []plugin.Option{station.HostInterceptors()}, "x"
		}
		p := plugintest.StartWith(t, weather.ServeStation(asking{station.New()}), unix.New(), opts,
			host.WithServices(weather.ServeStation(telling{station.New()})))
		ctx := metadata.AppendToOutgoingContext(t.Context(), weather.RequestIDKey, "x")
		reading, err := weather.NewStationClient(p).GetReading(ctx, &weather.GetReadingRequest{})
		if err != nil || reading.GetSensor() != want {
			t.Errorf("passes on %v: the host got %q, %v", passesOn, reading.GetSensor(), err)
		}
	}
}

// counting is a station that tells its caller how many readings there are.
type counting struct{ *station.Station }

func (c counting) GetReading(ctx context.Context, request *weather.GetReadingRequest) (*weather.Reading, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("station", "north")); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("readings", "0")); err != nil {
		return nil, err
	}
	return c.Station.GetReading(ctx, request)
}

// TestAnswerMetadata reads what a handler sends beside its answer, with an error too.
func TestAnswerMetadata(t *testing.T) {
	t.Parallel()
	client := start(t, counting{station.New()})
	var header, trailer metadata.MD
	_, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "a"}, grpc.Header(&header), grpc.Trailer(&trailer))
	if status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
	if got := append(header.Get("station"), trailer.Get("readings")...); strings.Join(got, " ") != "north 0" {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
}

// TestInterceptorOrder checks what docs/interceptors-and-metadata.md says about order,
// panics and the name of the plugin.
func TestInterceptorOrder(t *testing.T) {
	t.Parallel()
	var steps []string // written by one call at a time
	named := func(name string) host.Option {
		return host.WithInterceptors(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			steps = append(steps, name+" "+conn.CanonicalTarget()[strings.LastIndexByte(conn.CanonicalTarget(), '/')+1:])
			return next(ctx, method, request, response, conn, opts...)
		}, nil)
	}
	panicked := make(chan bool, 1)
	watch := plugin.WithInterceptors(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (response any, err error) {
		returned := false
		defer func() { panicked <- !returned }()
		response, err = next(ctx, request)
		returned = true
		return response, err
	}, nil)
	p := plugintest.StartWith(t, weather.ServeStation(newFaulty()), unix.New(), []plugin.Option{watch},
		host.WithName("north"), named("first"), named("second"))
	_, err := weather.NewStationClient(p).GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "panic"})
	if status.Code(err) != codes.Internal || !<-panicked {
		t.Errorf("%v, or the panic did not pass through the interceptor", err)
	}
	if got := strings.Join(steps, ", "); got != "first north, second north" {
		t.Error(got)
	}
	if err := p.Ping(t.Context()); err != nil || len(steps) != 2 {
		t.Errorf("%v; the interceptors saw a health check: %v", err, steps)
	}
}
