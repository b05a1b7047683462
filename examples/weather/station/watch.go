package station

import (
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/examples/weather"
)

// maxWatched bounds the sensors of one watcher, which may hold a reading of each.
const maxWatched = 100

// watcher is one call of Watch. However slow the host is, it holds only the
// latest unsent reading of each sensor.
type watcher struct {
	mu      sync.Mutex // guards the fields below
	sensors map[string]bool
	latest  map[string]*weather.Reading

	changed chan struct{} // holds a value while there is something to send
}

// Watch implements [weather.StationHandler].
func (s *Station) Watch(stream grpc.BidiStreamingServer[weather.WatchRequest, weather.Reading]) error {
	w := &watcher{sensors: make(map[string]bool), latest: make(map[string]*weather.Reading), changed: make(chan struct{}, 1)}
	s.watch(w)
	defer s.unwatch(w)
	ended := make(chan error, 1)
	go func() { ended <- w.follow(stream) }() // Recv returns when this handler has returned
	for {
		select {
		case <-plugin.Stopping(stream.Context()):
			return status.Error(codes.Unavailable, "the station closes")
		case <-w.changed:
			if err := w.send(stream); err != nil {
				return err
			}
		case err := <-ended:
			if err == nil {
				err = w.send(stream)
			}
			return err
		}
	}
}

// follow adds the sensors that the host asks for, until it half-closes the
// stream.
func (w *watcher) follow(stream grpc.BidiStreamingServer[weather.WatchRequest, weather.Reading]) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if length := len(request.GetSensor()); length < 1 || length > maxSensorLen {
			return status.Errorf(codes.InvalidArgument, "sensor: want 1 to %d bytes", maxSensorLen)
		}
		if !w.add(request.GetSensor()) {
			return status.Errorf(codes.ResourceExhausted, "one call watches at most %d sensors", maxWatched)
		}
	}
}

func (w *watcher) add(sensor string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sensors[sensor] = true
	return len(w.sensors) <= maxWatched
}

// offer replaces the unsent reading of the sensor. It does not block.
func (w *watcher) offer(reading *weather.Reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sensors[reading.GetSensor()] {
		return
	}
	w.latest[reading.GetSensor()] = reading
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// send sends the unsent readings. Send blocks while the host does not read.
func (w *watcher) send(stream grpc.BidiStreamingServer[weather.WatchRequest, weather.Reading]) error {
	w.mu.Lock()
	readings := w.latest
	w.latest = make(map[string]*weather.Reading)
	w.mu.Unlock()
	for _, reading := range readings {
		if err := stream.Send(reading); err != nil {
			return err
		}
	}
	return nil
}

func (s *Station) watch(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[w] = struct{}{}
}

func (s *Station) unwatch(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, w)
}
