package calls

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maxStatus is the largest text of a handler's error, and the largest size of its details,
// in bytes. On HTTP/2 they are encoded in headers, which makes them up to three times as
// long. Headers have a limit too, and above it the call would end without the error.
const maxStatus = 1 << 20

// bounded returns the error of a handler with a text and details that can be sent. The text
// says what was left out.
func bounded(err error) error {
	s := status.Convert(err)
	text := s.Message()
	if len(text) <= maxStatus && len(s.Details()) == 0 {
		return err // nearly all errors, without a copy
	}
	p := s.Proto()
	size := proto.Size(p) - len(text)
	if len(text) <= maxStatus && size <= maxStatus {
		return err
	}
	if more := len(text) - maxStatus; more > 0 {
		text = strings.ToValidUTF8(text[:maxStatus], "") + fmt.Sprintf(" (and %d more bytes, which do not fit into a status)", more)
	}
	if p.Message = text; size > maxStatus {
		p.Message += fmt.Sprintf(" (without its details, of %d bytes, which do not fit into a status)", size)
		p.Details = nil
	}
	return status.FromProto(p).Err()
}
