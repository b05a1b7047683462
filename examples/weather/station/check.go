package station

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/examples/weather"
)

const (
	maxSensorLen = 64 // every reading has its sensor's name
	absoluteZero = -273.15
)

// check returns an INVALID_ARGUMENT that names every field that is wrong. It drops
// unknown fields, which have no limit and would be kept with the reading.
func check(reading *weather.Reading) error {
	var wrong []*errdetails.BadRequest_FieldViolation
	require := func(ok bool, field, want string) {
		if !ok {
			wrong = append(wrong, &errdetails.BadRequest_FieldViolation{Field: field, Description: want})
		}
	}
	length := len(reading.GetSensor())
	require(length >= 1 && length <= maxSensorLen, "reading.sensor", "want 1 to 64 bytes")
	require(reading.GetTimeMillis() > 0, "reading.time_millis", "want more than 0")
	require(reading.GetCelsius() >= absoluteZero, "reading.celsius", "want -273.15 or more")
	if len(wrong) == 0 {
		reading.ProtoReflect().SetUnknown(nil)
		return nil
	}
	s, err := status.New(codes.InvalidArgument, "the reading is not valid").WithDetails(&errdetails.BadRequest{FieldViolations: wrong})
	if err != nil {
		return err
	}
	return s.Err()
}
