// Package station implements the services of package weather. Begin with [New].
package station

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/examples/weather"
)

// maxReadings bounds what a station remembers: about 100 MB.
const maxReadings = 1_000_000

// Station implements [weather.StationHandler].
type Station struct {
	mu       sync.Mutex // guards the fields below
	readings map[string][]*weather.Reading
	count    int
	watchers map[*watcher]struct{}
}

var _ weather.StationHandler = (*Station)(nil)

// New returns a station without readings.
func New() *Station {
	return &Station{readings: make(map[string][]*weather.Reading), watchers: make(map[*watcher]struct{})}
}

// GetReading implements [weather.StationHandler].
func (s *Station) GetReading(_ context.Context, request *weather.GetReadingRequest) (*weather.Reading, error) {
	readings := s.of(request.GetSensor())
	if len(readings) == 0 {
		return nil, status.Errorf(codes.NotFound, "sensor %.*q has no readings", maxSensorLen, request.GetSensor())
	}
	return readings[len(readings)-1], nil
}

// AddReading implements [weather.StationHandler].
func (s *Station) AddReading(_ context.Context, request *weather.AddReadingRequest) (*weather.AddReadingResponse, error) {
	if err := check(request.GetReading()); err != nil {
		return nil, err
	}
	if err := s.add(request.GetReading()); err != nil {
		return nil, err
	}
	return &weather.AddReadingResponse{}, nil
}

// ListReadings implements [weather.StationHandler].
func (s *Station) ListReadings(request *weather.ListReadingsRequest, stream grpc.ServerStreamingServer[weather.Reading]) error {
	for _, reading := range s.of(request.GetSensor()) {
		if err := stream.Send(reading); err != nil { // the host has ended, or wants no more
			return err
		}
	}
	return nil
}

// ImportReadings implements [weather.StationHandler].
func (s *Station) ImportReadings(stream grpc.ClientStreamingServer[weather.AddReadingRequest, weather.ImportReadingsResponse]) error {
	var readings []*weather.Reading
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) { // the host has sent all
			break
		}
		if err != nil { // the host has not sent all, and never will
			return err
		}
		if err := check(request.GetReading()); err != nil {
			return err
		}
		if len(readings) == maxReadings {
			return errFull
		}
		readings = append(readings, request.GetReading())
	}
	if err := s.add(readings...); err != nil {
		return err
	}
	return stream.SendAndClose(&weather.ImportReadingsResponse{Count: int64(len(readings))})
}

var errFull = status.Errorf(codes.ResourceExhausted, "the station keeps %d readings and no more", maxReadings)

// of returns the readings of a sensor, oldest first. Readings are only ever
// added.
func (s *Station) of(sensor string) []*weather.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readings[sensor]
}

// add stores all readings or none, and offers them to the watchers.
func (s *Station) add(readings ...*weather.Reading) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count+len(readings) > maxReadings {
		return errFull
	}
	latest := make(map[string]int64) // latest times, including those of readings
	for _, reading := range readings {
		sensor := reading.GetSensor()
		if stored := s.readings[sensor]; latest[sensor] == 0 && len(stored) > 0 {
			latest[sensor] = stored[len(stored)-1].GetTimeMillis()
		}
		if reading.GetTimeMillis() <= latest[sensor] {
			return status.Errorf(codes.FailedPrecondition, "sensor %q has a reading that is not older", sensor)
		}
		latest[sensor] = reading.GetTimeMillis()
	}
	for _, reading := range readings {
		s.readings[reading.GetSensor()] = append(s.readings[reading.GetSensor()], reading)
		for w := range s.watchers {
			w.offer(reading)
		}
	}
	s.count += len(readings)
	return nil
}
