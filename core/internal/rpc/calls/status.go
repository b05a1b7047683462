package calls

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maxStatus is the largest text of a handler's error, and the largest details, in
// bytes. They travel as headers, encoded, which makes them up to three times as
// long, and headers have a limit of their own (maxHeaders), beyond which the call
// would end without a word.
const maxStatus = 1 << 20

// bounded returns an error of a handler whose text and details have a size that
// can be sent. What is left out is said.
func bounded(err error) error {
	s := status.Convert(err)
	text := s.Message()
	if len(text) <= maxStatus && len(s.Details()) == 0 {
		return err // as nearly all are, without a copy
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
