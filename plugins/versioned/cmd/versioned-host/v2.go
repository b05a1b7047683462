package main

import (
	"context"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// These are the bounds of a batch in the .proto.
const (
	maxItems   = 50
	maxMessage = 4 << 20 // bytes, of a request and of a response

	// perItem is more than the lengths and tags around an item and its text.
	perItem = 32
)

// A clientV2 sends the texts in batches.
type clientV2 struct {
	client     example.DataProcessorV2Client
	operations []*example.Operation
	metadata   map[string]string
}

func newClientV2(conn grpc.ClientConnInterface, j job) (client, error) {
	c := &clientV2{client: example.NewDataProcessorV2Client(conn), metadata: j.metadata}
	for _, o := range j.operations {
		c.operations = append(c.operations, o.message)
	}
	return c, nil
}

func (c *clientV2) take(texts []string) int {
	around := proto.Size(c.item("")) + perItem
	size := 0
	for i, text := range texts[:min(len(texts), maxItems)] {
		if size += len(text) + around; size > maxMessage {
			return max(i, 1)
		}
	}
	return min(len(texts), maxItems)
}

func (c *clientV2) item(text string) *example.ProcessRequestV2 {
	return &example.ProcessRequestV2{Text: text, Operations: c.operations, Metadata: c.metadata}
}

func (c *clientV2) process(ctx context.Context, texts []string) ([]outcome, error) {
	request := new(example.BatchProcessRequest)
	for _, text := range texts {
		request.Items = append(request.Items, c.item(text))
	}
	response, err := c.client.BatchProcess(ctx, request)
	if err != nil {
		return nil, err
	}
	results := response.GetResults()
	if len(results) != len(texts) {
		return nil, fmt.Errorf("the plugin answered a batch of %d texts with %d results", len(texts), len(results))
	}
	outcomes := make([]outcome, len(results))
	for i, r := range results {
		switch r := r.GetOutcome().(type) {
		case *example.BatchResult_Response:
			outcomes[i] = outcome{text: r.Response.GetText(), statistics: r.Response.GetStatistics(), metadata: r.Response.GetMetadata()}
		case *example.BatchResult_Error:
			outcomes[i].err = statusOf(r.Error)
		default:
			return nil, fmt.Errorf("the plugin's result for text %d of a batch is neither a response nor an error: is the plugin newer than this host?", i+1)
		}
	}
	return outcomes, nil
}

// statusOf returns the error of an item in the form of a call's error.
func statusOf(failed *example.BatchError) error {
	code := codes.Code(failed.GetCode())
	if code == codes.OK {
		code = codes.Unknown // an item with an error is never OK
	}
	s := status.New(code, failed.GetMessage())
	bad := new(errdetails.BadRequest)
	for _, v := range failed.GetViolations() {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.GetField(), Description: v.GetDescription()})
	}
	if detailed, err := s.WithDetails(bad); err == nil {
		s = detailed
	}
	return s.Err()
}
