// Package console is the host's side of package weather: how to make each kind of
// call, and how to handle its errors.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/examples/weather"
)

// callTimeout is how long a user waits for one answer.
const callTimeout = 5 * time.Second

// Latest returns the latest temperature of a sensor.
func Latest(ctx context.Context, station weather.StationClient, sensor string) (celsius float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reading, err := station.GetReading(ctx, &weather.GetReadingRequest{Sensor: sensor})
	return reading.GetCelsius(), err
}

// List yields the readings of a sensor, oldest first, until the end or an error.
func List(ctx context.Context, station weather.StationClient, sensor string) iter.Seq2[*weather.Reading, error] {
	return func(yield func(*weather.Reading, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the call, also if the caller stops reading
		stream, err := station.ListReadings(ctx, &weather.ListReadingsRequest{Sensor: sensor})
		for err == nil {
			var reading *weather.Reading
			if reading, err = stream.Recv(); err == nil && !yield(reading, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}
}

// Import stores all readings, or none, and returns their number.
func Import(ctx context.Context, station weather.StationClient, readings iter.Seq[*weather.Reading]) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := station.ImportReadings(ctx)
	if err != nil {
		return 0, err
	}
	for reading := range readings {
		if err := stream.Send(&weather.AddReadingRequest{Reading: reading}); err != nil {
			break // the handler has ended the call, and CloseAndRecv returns why
		}
	}
	if err := ctx.Err(); err != nil { // a half-close now would mean: the readings are complete
		return 0, status.FromContextError(err).Err()
	}
	response, err := stream.CloseAndRecv()
	return response.GetCount(), err
}

// Watch calls f with the readings of the sensors as they are added, until ctx
// ends or f returns false.
func Watch(ctx context.Context, station weather.StationClient, f func(*weather.Reading) bool, sensors ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := station.Watch(ctx)
	if err != nil {
		return err
	}
	for _, sensor := range sensors {
		if err := stream.Send(&weather.WatchRequest{Sensor: sensor}); err != nil {
			break // Recv returns why
		}
	}
	for {
		reading, err := stream.Recv()
		if err != nil {
			return err
		}
		if !f(reading) {
			return stop(stream)
		}
	}
}

// stop half-closes the stream and reads what is still on its way, so that the
// call ends in good order.
func stop(stream grpc.BidiStreamingClient[weather.WatchRequest, weather.Reading]) error {
	err := stream.CloseSend()
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Explain describes the error of a call to a user.
func Explain(err error) string {
	if exit, ok := errors.AsType[*host.ExitError](err); ok {
		return fmt.Sprintf("the plugin ended (%v); start it again", exit.Status)
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.InvalidArgument:
		return s.Message() + fields(s)
	case codes.NotFound, codes.FailedPrecondition, codes.ResourceExhausted:
		return s.Message()
	case codes.DeadlineExceeded:
		return "the plugin did not answer within the time limit"
	case codes.Unavailable:
		return "the plugin cannot be called now: " + s.Message()
	default:
		return fmt.Sprintf("a mistake in the plugin (%v): %s", s.Code(), s.Message())
	}
}

// fields returns what a status says about the request's fields.
func fields(s *status.Status) string {
	var b strings.Builder
	for _, detail := range s.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fmt.Fprintf(&b, "; %s: %s", v.GetField(), v.GetDescription())
			}
		}
	}
	return b.String()
}
