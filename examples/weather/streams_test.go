//go:build unix

package weather_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/console"
	"github.com/plugwire/plugwire/examples/weather/station"
	"github.com/plugwire/plugwire/transport/unix"
)

func reading(sensor string, millis int64) *weather.Reading {
	return &weather.Reading{Sensor: sensor, TimeMillis: millis, Celsius: float64(millis)}
}

// several returns n readings of a sensor.
func several(sensor string, n int64) []*weather.Reading {
	var all []*weather.Reading
	for i := range n {
		all = append(all, reading(sensor, i+1))
	}
	return all
}

func TestImportAndList(t *testing.T) {
	t.Parallel()
	client := start(t, station.New())
	const n = 5000
	if got, err := console.Import(t.Context(), client, slices.Values(several("a", n))); got != n || err != nil {
		t.Fatalf("%d imported, %v", got, err)
	}
	if celsius, err := console.Latest(t.Context(), client, "a"); celsius != n || err != nil {
		t.Errorf("the latest is %v, %v", celsius, err)
	}
	next := int64(1)
	for r, err := range console.List(t.Context(), client, "a") {
		if err != nil || r.GetTimeMillis() != next {
			t.Fatalf("%v, %v, want %d", r, err, next)
		}
		next++
	}
	if next != n+1 {
		t.Errorf("%d listed", next-1)
	}
	for r, err := range console.List(t.Context(), client, "a") {
		if err != nil || r.GetTimeMillis() != 1 {
			t.Errorf("%v, %v", r, err)
		}
		break // then the call ends, and the end of the test waits for that
	}
}

// TestImportAllOrNone checks a stream whose handler ends before the last
// message.
func TestImportAllOrNone(t *testing.T) {
	t.Parallel()
	client := start(t, station.New())
	for name, bad := range map[string]*weather.Reading{"invalid": {Sensor: "a"}, "old": reading("a", 1)} {
		want := codes.InvalidArgument
		if name == "old" {
			want = codes.FailedPrecondition
		}
		if _, err := console.Import(t.Context(), client, slices.Values(append(several("a", 100), bad))); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := console.Latest(t.Context(), client, "a"); status.Code(err) != codes.NotFound {
			t.Errorf("%s: something was stored: %v", name, err)
		}
	}
	endless := func(yield func(*weather.Reading) bool) {
		for yield(&weather.Reading{}) {
		}
	}
	if _, err := console.Import(t.Context(), client, endless); status.Code(err) != codes.InvalidArgument {
		t.Errorf("endless: %v", err)
	}
}

// TestImportCancelled checks a host that gives up in the middle.
func TestImportCancelled(t *testing.T) {
	t.Parallel()
	client := start(t, station.New())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := console.Import(ctx, client, func(yield func(*weather.Reading) bool) {
		yield(reading("a", 1))
		cancel()
	})
	if status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
	if _, err := console.Latest(t.Context(), client, "a"); status.Code(err) != codes.NotFound {
		t.Errorf("something was stored: %v", err)
	}
}

// TestWatch checks that a host which does not read for a while still gets the
// latest reading.
func TestWatch(t *testing.T) {
	t.Parallel()
	client := start(t, station.New())
	const last = 1_000_000
	begun, read := make(chan struct{}, last), make(chan struct{})
	watched := make(chan error, 1)
	go func() {
		watched <- console.Watch(t.Context(), client, func(r *weather.Reading) bool {
			begun <- struct{}{}
			<-read
			return r.GetTimeMillis() != last
		}, "a", "b")
	}()
	add := func(millis int64) {
		t.Helper()
		if _, err := client.AddReading(t.Context(), &weather.AddReadingRequest{Reading: reading("b", millis)}); err != nil {
			t.Fatal(err)
		}
	}
	millis := int64(1)
	for len(begun) == 0 { // the request may not have arrived yet
		add(millis)
		millis++
	}
	for range 100 {
		add(millis)
		millis++
	}
	add(last)
	close(read)
	if err := <-watched; err != nil {
		t.Errorf("%v", err)
	}
}

// A plugin that stops does not wait for its watchers.
func TestWatchEndsWithThePlugin(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	p := plugintest.StartWith(t, weather.ServeStation(station.New()), unix.New(), []plugin.Option{plugin.WithLogger(logger)})
	client := weather.NewStationClient(p)
	begun, watched := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		watched <- console.Watch(t.Context(), client, func(*weather.Reading) bool {
			select {
			case begun <- struct{}{}:
			default:
			}
			return true
		}, "a")
	}()
	for millis := int64(1); len(begun) == 0; millis++ { // the request may not have arrived yet
		if _, err := client.AddReading(t.Context(), &weather.AddReadingRequest{Reading: reading("a", millis)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-watched; status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
	if strings.Contains(log.String(), "cut off") {
		t.Errorf("the plugin waited for the watch:\n%s", &log)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	client := start(t, station.New())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := console.Watch(ctx, client, nil, "a"); status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
	if err := console.Watch(t.Context(), client, nil, strings.Repeat("x", 65)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a long name: %v", err)
	}
	var sensors []string
	for i := range 101 {
		sensors = append(sensors, "sensor"+strconv.Itoa(i))
	}
	if err := console.Watch(t.Context(), client, nil, sensors...); status.Code(err) != codes.ResourceExhausted || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
