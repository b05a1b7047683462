package calls

import (
	"slices"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
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
	return status.FromProto(&statuspb.Status{
		Code:    int32(code), //nolint:gosec // codes are small numbers
		Message: message,
		Details: []*anypb.Any{errorInfo(reason)},
	})
}

// The google.rpc.ErrorInfo (google/rpc/error_details.proto) is written and read field by
// field. Its generated package would register all standard details at each start.
const (
	errorInfoName   = "google.rpc.ErrorInfo"
	errorInfoURL    = "type.googleapis.com/" + errorInfoName
	errorInfoReason = protowire.Number(1)
	errorInfoDomain = protowire.Number(2)
)

// errorInfo returns a google.rpc.ErrorInfo of [RefusalDomain].
func errorInfo(reason string) *anypb.Any {
	value := protowire.AppendTag(nil, errorInfoReason, protowire.BytesType)
	value = protowire.AppendString(value, reason)
	value = protowire.AppendTag(value, errorInfoDomain, protowire.BytesType)
	return &anypb.Any{TypeUrl: errorInfoURL, Value: protowire.AppendString(value, RefusalDomain)}
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

// isRefusal reports whether a detail is a google.rpc.ErrorInfo of [RefusalDomain]. The
// other side may send any bytes.
func isRefusal(detail *anypb.Any) bool {
	if detail.MessageName() != errorInfoName {
		return false
	}
	domain := ""
	for rest := detail.GetValue(); len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return false
		}
		rest = rest[n:]
		if n = protowire.ConsumeFieldValue(number, kind, rest); n < 0 {
			return false
		}
		if number == errorInfoDomain && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(rest)
			domain = string(value) // the last one counts, as in every message
		}
		rest = rest[n:]
	}
	return domain == RefusalDomain
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
