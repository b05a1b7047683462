package processor

import (
	"context"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
)

// BatchProcess does for each item what [Processor.Process] does. The results
// are in the order of the items. Each item succeeds or fails on its own.
func (p *Processor) BatchProcess(ctx context.Context, request *example.BatchProcessRequest) (*example.BatchProcessResponse, error) {
	if err := checkBatch(request); err != nil {
		return nil, err
	}
	items := request.GetItems()
	results := make([]*example.BatchResult, len(items))
	err := p.batches.each(ctx, len(items), func(i int) {
		response, err := p.Process(ctx, items[i])
		results[i] = result(response, err)
	})
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return &example.BatchProcessResponse{Results: results}, nil
}

// result returns the outcome of one item.
func result(response *example.ProcessResponseV2, err error) *example.BatchResult {
	if err == nil {
		return &example.BatchResult{Outcome: &example.BatchResult_Response{Response: response}}
	}
	s := status.Convert(err)
	failed := &example.BatchError{Code: s.Proto().GetCode(), Message: s.Message()}
	for _, v := range violation.Of(s) {
		failed.Violations = append(failed.Violations, &example.FieldViolation{Field: v.GetField(), Description: v.GetDescription()})
	}
	return &example.BatchResult{Outcome: &example.BatchResult_Error{Error: failed}}
}
