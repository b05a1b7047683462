package main

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// endless is a plugin whose pages are empty and never end.
type endless struct{ multi.DataServiceClient }

func (endless) QueryData(context.Context, *multi.QueryRequest, ...grpc.CallOption) (*multi.QueryResponse, error) {
	return &multi.QueryResponse{NextPageToken: "again"}, nil
}

// A plugin is untrusted input.
func TestQueryOfEmptyPages(t *testing.T) {
	err := new(querying).print(t.Context(), endless{}, nil)
	if err == nil || !strings.Contains(err.Error(), "a page without entries") {
		t.Errorf("error %v", err)
	}
}
