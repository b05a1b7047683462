package calls

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// CallError is the error of a call that the other side can no longer answer. It
// unwraps to the reason, such as how the plugin's process ended. Its status is
// codes.Unavailable, or that of the caller's context if that has ended too.
type CallError struct {
	status *status.Status
	reason error
}

// LostError returns the error of a call that ended because the other side did. ended is how
// the caller's context ended; nil if it did not, or if that was not what ended the call.
func LostError(ended, reason error) error {
	if ended == nil {
		return &CallError{status.New(codes.Unavailable, reason.Error()), reason}
	}
	s := status.FromContextError(ended)
	return &CallError{status.New(s.Code(), s.Message()+"; meanwhile: "+reason.Error()), reason}
}

// Error returns the status and the reason.
func (e *CallError) Error() string { return e.status.Err().Error() }

// GRPCStatus makes status.FromError and status.Code work.
func (e *CallError) GRPCStatus() *status.Status { return e.status }

// Unwrap returns the reason.
func (e *CallError) Unwrap() error { return e.reason }

// Unsent marks the error of a call that was never sent to the other side.
func Unsent(err error) error {
	s := status.Convert(err)
	marked := NotSent(s.Code(), s.Message())
	if e, ok := errors.AsType[*CallError](err); ok {
		return &CallError{marked, e.reason}
	}
	return marked.Err()
}
