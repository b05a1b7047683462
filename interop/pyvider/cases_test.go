//go:build unix

package pyvider_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
)

// large is the size of a text, in bytes; gRPC's default limit is 4 MiB, and the
// service accepts 2 MiB.
const large = 1 << 20

// A processCase is a call of ProcessData. The file cases.json has the calls
// that both languages make.
type processCase struct {
	Data    string            `json:"data"`
	Options map[string]string `json:"options"`
	Tags    []string          `json:"tags"`
	Result  string            `json:"result"`
	Code    *codes.Code       `json:"code"`
}

// checkCalls makes every call of the service, like the task calls of host.py.
func checkCalls(t *testing.T, client example.DataProcessorClient) {
	t.Helper()
	ctx := testContext(t)
	data, err := os.ReadFile("cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []processCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", large)
	cases = append(cases, processCase{Data: text, Result: text})
	var stored []string
	for _, c := range cases {
		response, err := client.ProcessData(ctx, &example.ProcessRequest{Data: c.Data, Options: c.Options, Tags: c.Tags})
		want := codes.OK
		if c.Code != nil {
			want = *c.Code
		}
		if status.Code(err) != want || response.GetResult() != c.Result {
			t.Errorf("%.30q with %v: %.30q, %v; want %.30q, %v", c.Data, c.Options, response.GetResult(), err, c.Result, want)
		}
		if want == codes.OK {
			stored = append(stored, c.Result)
		}
	}
	for _, tt := range []struct {
		query string
		limit int32
	}{{"", 0}, {"", 2}, {"hello", 0}, {"nothing of it", 0}} {
		var want []string
		for _, result := range slices.Backward(stored) {
			if strings.Contains(result, tt.query) && (tt.limit == 0 || len(want) < int(tt.limit)) {
				want = append(want, result)
			}
		}
		got, err := streamResults(t, client, tt.query, tt.limit)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("query %q, limit %d: %d items, %v; want %d", tt.query, tt.limit, len(got), err, len(want))
		}
	}
	if state, err := client.GetStatus(ctx, &example.StatusRequest{}); err != nil || state.GetStatus() != "healthy" {
		t.Errorf("GetStatus: %v, %v", state, err)
	}
}

func streamResults(t *testing.T, client example.DataProcessorClient, query string, limit int32) (results []string, err error) {
	t.Helper()
	stream, err := client.StreamResults(testContext(t), &example.StreamRequest{Query: query, Limit: limit})
	if err != nil {
		return nil, err
	}
	for {
		item, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return results, nil
		}
		if err != nil {
			return nil, err
		}
		results = append(results, item.GetData())
	}
}

// process calls ProcessData with an option that the service does not have.
func process(t *testing.T, client example.DataProcessorClient, data, option string) error {
	t.Helper()
	_, err := client.ProcessData(testContext(t), &example.ProcessRequest{Data: data, Options: map[string]string{option: ""}})
	return err
}

// waiting starts a call that ends only with the plugin, and returns when the
// call has reached the plugin. The channel gets the error of the call.
func waiting(t *testing.T, client example.DataProcessorClient) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	ctx := testContext(t)
	request := &example.ProcessRequest{Data: "waiting", Options: map[string]string{"wait": ""}}
	go func() {
		_, err := client.ProcessData(ctx, request)
		ended <- err
	}()
	eventually(t, func() string {
		found, err := streamResults(t, client, "waiting", 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return "the plugin does not have the call"
		}
		return ""
	})
	return ended
}
