package processor_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
)

const maxItems = 50

func batch(items ...*example.ProcessRequestV2) *example.BatchProcessRequest {
	return &example.BatchProcessRequest{Items: items}
}

// Each item has the outcome of a call of its own, in the order of the items.
func TestBatch(t *testing.T) {
	items := make([]*example.ProcessRequestV2, maxItems)
	for i := range items {
		operations := []*example.Operation{changeCase(upper)}
		if i%3 == 0 {
			operations = append(operations, replace("", ""))
		}
		items[i] = request(fmt.Sprintf("text %d", i), operations...)
		items[i].Metadata = map[string]string{"number": strconv.Itoa(i)}
	}
	p := processor.New()
	response, err := p.BatchProcess(t.Context(), batch(items...))
	if err != nil {
		t.Fatal(err)
	}
	if len(response.GetResults()) != len(items) {
		t.Fatalf("%d results, want %d", len(response.GetResults()), len(items))
	}
	for i, got := range response.GetResults() {
		want := new(example.BatchResult)
		if single, err := p.Process(t.Context(), items[i]); err == nil {
			want.Outcome = &example.BatchResult_Response{Response: single}
		} else {
			want.Outcome = &example.BatchResult_Error{Error: &example.BatchError{
				Code:       int32(codes.InvalidArgument),
				Message:    status.Convert(err).Message(),
				Violations: []*example.FieldViolation{{Field: "operations[1].replace.old", Description: "must not be empty"}},
			}}
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&example.ProcessResponseV2{}, "elapsed")); diff != "" {
			t.Errorf("result %d (-want +got):\n%s", i, diff)
		}
		if failed := got.GetError() != nil; failed != (i%3 == 0) {
			t.Errorf("result %d: %v", i, got)
		}
	}
}

func TestBatchOfFailures(t *testing.T) {
	response, err := processor.New().BatchProcess(t.Context(), batch(request(""), nil))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range response.GetResults() {
		if e := r.GetError(); e.GetCode() != int32(codes.InvalidArgument) || e.GetMessage() != "text: must not be empty" {
			t.Errorf("result %d: %v", i, r)
		}
	}
}

func TestBatchInvalid(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request *example.BatchProcessRequest
		want    string
	}{
		{"nothing", nil, "items: must not be empty"},
		{"no items", batch(), "items: must not be empty"},
		{"many items", batch(make([]*example.ProcessRequestV2, maxItems+1)...), "items: has 51 items: at most 50 may be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := processor.New().BatchProcess(t.Context(), tt.request)
			wantInvalid(t, err, tt.want, "items")
		})
	}
}

func TestBatchCanceled(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[codes.Code]context.Context{codes.Canceled: canceled, codes.DeadlineExceeded: late} {
		if response, err := processor.New().BatchProcess(ctx, batch(request("a"))); status.Code(err) != want || response != nil {
			t.Errorf("%v, %v, want %v", response, err, want)
		}
	}
}

func TestConcurrentBatches(t *testing.T) {
	p := processor.New()
	var callers sync.WaitGroup
	for caller := range 16 {
		callers.Go(func() {
			items := make([]*example.ProcessRequestV2, 50)
			for i := range items {
				items[i] = request(fmt.Sprintf("%d-%d", caller, i), replace("-", ":"))
			}
			response, err := p.BatchProcess(t.Context(), batch(items...))
			if err != nil {
				t.Error(err)
				return
			}
			for i, r := range response.GetResults() {
				if want := fmt.Sprintf("%d:%d", caller, i); r.GetResponse().GetText() != want {
					t.Errorf("result %v, want %s", r, want)
				}
			}
		})
	}
	callers.Wait()
}
