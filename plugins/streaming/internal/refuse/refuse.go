// Package refuse makes the gRPC statuses for requests that are not valid.
package refuse

import (
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Invalid returns an INVALID_ARGUMENT status, with a detail that names the
// wrong field of the request.
func Invalid(field, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	s := status.New(codes.InvalidArgument, message)
	detailed, err := s.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: message}},
	})
	if err != nil {
		return s.Err() // the text has everything
	}
	return detailed.Err()
}
