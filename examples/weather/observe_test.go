//go:build unix

package weather_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/console"
	"github.com/plugwire/plugwire/examples/weather/station"
	"github.com/plugwire/plugwire/transport/unix"
)

// logLines logs in all the ways that docs/observability.md shows.
func logLines(ctx context.Context) {
	plugin.Logger(ctx).WarnContext(ctx, "slow answer", "sensor", "a")
	fmt.Fprintln(os.Stderr, "plain text")
	fmt.Fprintln(os.Stderr, "[DEBUG] with a level")
	fmt.Fprintln(os.Stderr, `{"level":"error","msg":"from zap","disk":"sda"}`)
	fmt.Println("on standard output")
}

// records are those of the host, without the time.
const records = `
level=WARN msg="slow answer" plugin=north pid=4711 sensor=a
level=INFO msg="plain text" plugin=north pid=4711 stream=stderr
level=DEBUG msg="with a level" plugin=north pid=4711
level=ERROR msg="from zap" plugin=north pid=4711 disk=sda
level=INFO msg="on standard output" plugin=north pid=4711 stream=stdout
`

// TestLogForms compares the records of a plugin's lines with those on the page. The two
// streams are read one beside the other, so records of different streams have no order.
func TestLogForms(t *testing.T) {
	t.Parallel()
	log := newLateLog(&slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime})
	cmd := exec.Command(self(t))
	cmd.Env = pluginEnviron()
	p, err := host.Launch(t.Context(), cmd, host.WithName("north"), host.WithLogger(log.logger),
		host.WithProtocols(weather.StationProtocol), host.WithTransports(unix.New()))
	if err != nil {
		t.Fatal(err)
	}
	pid := p.Info().PID
	_, err = weather.NewStationClient(p).GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "log"})
	if closeErr := p.Close(); err != nil || closeErr != nil {
		t.Fatalf("%v, %v", err, closeErr)
	}
	got := strings.ReplaceAll(log.lines.String(), "pid="+strconv.Itoa(pid), "pid=4711")
	if !slices.Equal(sortedLines(got), sortedLines(records)) {
		t.Errorf("the records are\n%s", got)
	}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}

func sortedLines(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return lines
}

// unwell is a station whose health is what its caller says.
type unwell struct{ *station.Station }

func (u unwell) GetReading(ctx context.Context, request *weather.GetReadingRequest) (*weather.Reading, error) {
	plugin.SetHealth(ctx, request.GetSensor() == "well")
	return &weather.Reading{}, nil
}

func TestWatchHealth(t *testing.T) {
	t.Parallel()
	p := startPlugin(t, unwell{station.New()})
	client := weather.NewStationClient(p)
	changes := make(chan error)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		console.WatchHealth(p, time.Millisecond, func(err error) { changes <- err })
	}()
	for _, sensor := range []string{"unwell", "well"} {
		if _, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: sensor}); err != nil {
			t.Fatal(err)
		}
		if err := <-changes; (err == nil) != (sensor == "well") {
			t.Errorf("%s: %v", sensor, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for running := true; running; {
		select {
		case <-changes: // a ping that met the end
		case <-ended:
			running = false
		}
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	var calls console.Calls
	client := start(t, station.New(), calls.Option(), host.WithName("north"))
	for range 2 {
		_, _ = client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "a"}) // its code is what counts
	}
	want := map[console.Call]int{{Plugin: "north", Method: "/weather.Station/GetReading", Code: codes.NotFound}: 2}
	if got := calls.Counts(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
