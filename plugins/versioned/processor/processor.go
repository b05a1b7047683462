// Package processor is the sample's data processor. Start with [New]; the value
// serves the newest version of the protocol, example.DataProcessorV2. Package
// compat serves older versions.
package processor

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
)

// A Processor serves example.DataProcessorV2. Its methods are safe for
// concurrent use.
type Processor struct {
	batches pool // bounds the items of all batches
}

var _ example.DataProcessorV2Handler = (*Processor)(nil)

// New returns a processor. Its batches, all together, work on as many items at
// a time as the process may use CPUs.
func New() *Processor {
	return &Processor{batches: newPool(runtime.GOMAXPROCS(0))}
}

// Process applies the request's operations to its text, in their order.
func (p *Processor) Process(ctx context.Context, request *example.ProcessRequestV2) (*example.ProcessResponseV2, error) {
	start := time.Now()
	steps, err := check(request)
	if err != nil {
		return nil, err
	}
	text := request.GetText()
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, status.FromContextError(err).Err()
		}
		var fits bool
		if text, fits = s.apply(text); !fits {
			return nil, tooLong(s.field)
		}
	}
	elapsed := time.Since(start)
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelDebug, "processed",
		slog.Int("bytes", len(request.GetText())),
		slog.Int("operations", len(steps)),
		slog.Duration("elapsed", elapsed))
	return &example.ProcessResponseV2{
		Text:       text,
		Elapsed:    durationpb.New(elapsed),
		Statistics: statistics(text),
		Metadata:   request.GetMetadata(),
	}, nil
}

// tooLong is the violation of an operation at field that makes the text too
// long.
func tooLong(field string) error {
	var wrong violation.List
	wrong.Add(field, "makes the text longer than "+count(maxText, "byte"))
	return wrong.Err()
}

func statistics(text string) *example.TextStatistics {
	s := &example.TextStatistics{
		Characters: int64(utf8.RuneCountInString(text)),
		Lines:      int64(strings.Count(text, "\n")),
	}
	for range strings.FieldsSeq(text) {
		s.Words++
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		s.Lines++
	}
	return s
}
