// Package refuse makes the gRPC statuses with which the sample answers what is
// wrong with a request.
package refuse

import (
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Invalid returns an INVALID_ARGUMENT status, with a detail that tells a
// program which field of the request is meant.
func Invalid(field, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	s := status.New(codes.InvalidArgument, message)
	detailed, err := s.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: message}},
	})
	if err != nil {
		return s.Err() // the text says it all
	}
	return detailed.Err()
}
