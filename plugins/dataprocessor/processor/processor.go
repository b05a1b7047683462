// Package processor is the sample's data processor: it transforms text as the
// caller's options say and remembers the results. Start with [New]; the value
// serves example.DataProcessor. It does not know how calls reach it.
package processor

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

// Version is the release of the processor, which GetStatus reports. It equals
// the module's tag without the leading "v".
const Version = "0.1.0"

// statusOK is the status_code of every response: a failure is a gRPC status.
const statusOK = 0

// defaultLimit is how many results StreamResults sends if the request sets no
// limit: about a screenful.
const defaultLimit = 10

// These limits of a request are promised by the .proto.
const (
	// maxText bounds a text before, between and after its steps, with the tags, in
	// bytes. So it bounds the work of a call.
	maxText = 2 << 20

	// MaxMessageSize is the largest message that the plugin need accept or send, for
	// plugin.WithMaxMessageSize. A text that is a little too long gets an answer
	// that says so. A much larger request is refused before it is in memory, where a
	// tag of two bytes takes 20 times its length, and an option even more.
	MaxMessageSize = 2 * maxText
)

// A Processor serves example.DataProcessor. It keeps the newest results, at
// most 10,000 of them and at most 64 MiB of text, for StreamResults. Its methods
// are safe for concurrent use.
type Processor struct {
	started time.Time
	results store
}

var _ example.DataProcessorHandler = (*Processor)(nil)

// New returns a processor without results, whose uptime starts now.
func New() *Processor {
	return &Processor{
		started: time.Now(),
		results: store{maxEntries: maxEntries, maxBytes: maxBytes},
	}
}

// ProcessData applies the request's options to its data, puts its tags before
// the result and stores it. The options have the values "true" or "false". They are
// applied in this order: trim, uppercase or lowercase, reverse, sha256. trim removes
// white space at both ends. Case is Unicode's full case mapping: ß becomes SS. reverse
// keeps the characters that readers see. sha256 is the hexadecimal digest of the text
// so far.
func (p *Processor) ProcessData(ctx context.Context, request *example.ProcessRequest) (*example.ProcessResponse, error) {
	start := time.Now()
	if request.GetData() == "" {
		return nil, invalid("data", "data field is required")
	}
	if n := len(request.GetData()); n > maxText {
		return nil, invalid("data", fmt.Sprintf("data has %d bytes: at most %d may be", n, maxText))
	}
	steps, err := parseOptions(request.GetOptions())
	if err != nil {
		return nil, err
	}
	result := request.GetData()
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		if result = s.apply(result); len(result) > maxText {
			return nil, invalid(fmt.Sprintf("options[%q]", s.option), fmt.Sprintf("option %s makes the text longer than %d bytes", s.option, maxText))
		}
	}
	if tags := request.GetTags(); len(tags) > 0 {
		result = "[" + strings.Join(tags, ",") + "] " + result
	}
	if len(result) > maxText {
		return nil, invalid("tags", fmt.Sprintf("the tags make the result longer than %d bytes", maxText))
	}
	p.results.add(result, time.Now())
	elapsed := time.Since(start)
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelDebug, "processed",
		slog.Int("bytes", len(request.GetData())),
		slog.Int("steps", len(steps)),
		slog.Duration("elapsed", elapsed))
	return &example.ProcessResponse{
		Result:         result,
		StatusCode:     statusOK,
		ProcessingTime: elapsed.Seconds(),
	}, nil
}

// StreamResults sends the stored results that contain the request's query,
// newest first, as they were when the call began. A result that is dropped
// meanwhile, to make room for a newer one, is left out.
func (p *Processor) StreamResults(request *example.StreamRequest, stream grpc.ServerStreamingServer[example.ResultItem]) error {
	limit := int(request.GetLimit())
	switch {
	case limit < 0:
		return invalid("limit", "limit must not be negative, it is "+strconv.Itoa(limit))
	case limit == 0:
		limit = defaultLimit
	}
	ctx := stream.Context()
	sent := 0
	for r := range p.results.newestFirst() {
		// Check the context also while no result matches, because a scan of the
		// whole store takes time.
		if err := ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}
		if !strings.Contains(r.data, request.GetQuery()) {
			continue
		}
		item := &example.ResultItem{Id: strconv.FormatUint(r.id, 10), Data: r.data, Timestamp: r.timestamp}
		if err := stream.Send(item); err != nil {
			return err
		}
		if sent++; sent == limit {
			break
		}
	}
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelDebug, "streamed results", slog.Int("sent", sent))
	return nil
}

// GetStatus reports the status "healthy", [Version] and the time since [New].
func (p *Processor) GetStatus(context.Context, *example.StatusRequest) (*example.StatusResponse, error) {
	return &example.StatusResponse{
		Status:  "healthy",
		Version: Version,
		Uptime:  int64(time.Since(p.started) / time.Second),
	}, nil
}

// invalid returns an INVALID_ARGUMENT status, with a detail that names the
// wrong field of the request.
func invalid(field, message string) error {
	s := status.New(codes.InvalidArgument, message)
	detailed, err := s.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: message}},
	})
	if err != nil {
		return s.Err() // the text has everything
	}
	return detailed.Err()
}
