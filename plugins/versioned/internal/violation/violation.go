// Package violation makes and reads the INVALID_ARGUMENT statuses of this
// sample, in which a google.rpc.BadRequest detail names the fields of the
// request that are wrong. The versions of the protocol share it.
package violation

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxListed is how many violations an error lists. It bounds the trailer that a
// request with thousands of mistakes would cause. A person corrects the first
// few and tries again.
const maxListed = 10

// Quote returns a name or value from the caller in the form for an error:
// quoted, and at most 64 characters, for the same reason.
func Quote(s string) string { return fmt.Sprintf("%.64q", s) }

// A List has the violations of one request. The zero value is empty.
type List struct {
	listed []*errdetails.BadRequest_FieldViolation
	more   int // number of violations that are not listed
}

// Add adds a violation of field. The description does not name the field,
// because another version of the protocol has another name for it.
func (l *List) Add(field, description string) {
	if len(l.listed) == maxListed {
		l.more++
		return
	}
	l.listed = append(l.listed, &errdetails.BadRequest_FieldViolation{Field: field, Description: description})
}

// Err returns the status with all violations, or nil if the list is empty.
func (l *List) Err() error {
	if len(l.listed) == 0 {
		return nil
	}
	texts := make([]string, len(l.listed))
	for i, v := range l.listed {
		texts[i] = v.GetField() + ": " + v.GetDescription()
	}
	if l.more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", l.more))
	}
	s := status.New(codes.InvalidArgument, strings.Join(texts, "; "))
	detailed, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: l.listed})
	if err != nil {
		return s.Err() // the text has everything
	}
	return detailed.Err()
}

// Of returns the violations that are listed in s, or none for another kind of
// status.
func Of(s *status.Status) []*errdetails.BadRequest_FieldViolation {
	for _, detail := range s.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			return bad.GetFieldViolations()
		}
	}
	return nil
}
