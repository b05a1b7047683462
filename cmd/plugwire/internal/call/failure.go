package call

import (
	"encoding/json"
	"errors"
	"strings"

	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // the details that errors usually have
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/message"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/schema"
	"github.com/plugwire/plugwire/core/host"
)

// failure returns the error of a call with its status, its details and its exit code.
func (i *invocation) failure(err error) error {
	if err == nil || output.IsWrite(err) {
		return err
	}
	if own, ok := errors.AsType[*output.Error](err); ok {
		return own
	}
	s, ok := status.FromError(err)
	if !ok {
		return &output.Error{Code: output.ExitFailed, Err: err}
	}
	fields := map[string]any{"code": s.Code().String(), "message": s.Message()}
	var shown strings.Builder
	shown.WriteString(s.Code().String() + ": " + s.Message())
	if details := s.Proto().GetDetails(); len(details) > 0 {
		objects := make([]json.RawMessage, len(details))
		for n, d := range details {
			objects[n] = detail(d, i.schema.Types())
			shown.WriteString("\n  detail " + string(objects[n]))
		}
		fields["details"] = objects
	}
	code := output.ExitFailed
	if _, ended := errors.AsType[*host.ExitError](err); ended {
		code = output.ExitLost
	}
	return &output.Error{Code: code, Err: &callError{shown.String(), err}, Details: fields}
}

// callError is the status of a call in the words of this program.
type callError struct {
	text string
	err  error
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.err }

// detail returns a detail of a status as JSON. One whose type is not known is shown as
// its bytes.
func detail(d *anypb.Any, types schema.Types) json.RawMessage {
	b, err := protojson.MarshalOptions{Resolver: types}.Marshal(d)
	if err == nil {
		if b, err = message.Compact(b); err == nil {
			return b
		}
	}
	b, err = json.Marshal(map[string]any{"@type": strings.ToValidUTF8(d.GetTypeUrl(), "?"), "bytes": d.GetValue()})
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return b
}
