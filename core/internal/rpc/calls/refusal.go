package calls

import (
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// RefusalDomain is the domain of the google.rpc.ErrorInfo in the status of a call that
// has certainly not begun: no handler and no interceptor of the other side has seen it.
// In gRPC's terms the call is unprocessed (gRFC A6, "Transparent Retries"). The other
// side sends the detail with a call that it refuses, and this side adds it to the error
// of a call that was never sent.
const RefusalDomain = "plugwire"

// The reasons in the ErrorInfo.
const (
	reasonShuttingDown = "SHUTTING_DOWN"     // the other side drains
	reasonCalls        = "TOO_MANY_CALLS"    // more than WithMaxCalls allows
	reasonMetadata     = "TOO_MUCH_METADATA" // more than WithMaxBuffered allows
	reasonRoom         = "NO_ROOM"           // a message is larger than what WithMaxBuffered leaves
	reasonNotSent      = "NOT_SENT"          // this side has no connection for the call
)

// refused returns the status of a call that has certainly not begun.
func refused(reason string, code codes.Code, message string) *status.Status {
	s := status.New(code, message)
	detailed, err := s.WithDetails(&errdetails.ErrorInfo{Domain: RefusalDomain, Reason: reason})
	if err != nil { // only if code is OK
		return s
	}
	return detailed
}

// NotSent returns the status of a call that was never sent to the other side.
func NotSent(code codes.Code, message string) *status.Status {
	return refused(reasonNotSent, code, message)
}

// NotBegun reports whether err is of a call that has certainly not begun.
func NotBegun(err error) bool {
	s, ok := status.FromError(err)
	if !ok || len(s.Details()) == 0 { // as nearly all have none, without a copy
		return false
	}
	return slices.ContainsFunc(s.Proto().GetDetails(), isRefusal)
}

func isRefusal(detail *anypb.Any) bool {
	info := new(errdetails.ErrorInfo)
	return detail.MessageIs(info) && detail.UnmarshalTo(info) == nil && info.GetDomain() == RefusalDomain
}

// begun returns the error of a handler, which has begun whatever its error says. The
// handler may pass on the error of a call that it has made and that was refused.
// Without begun, the caller of the handler would repeat a call that has run.
func begun(err error) error {
	if !NotBegun(err) {
		return err
	}
	p := status.Convert(err).Proto()
	p.Details = slices.DeleteFunc(p.GetDetails(), isRefusal)
	return status.FromProto(p).Err()
}
