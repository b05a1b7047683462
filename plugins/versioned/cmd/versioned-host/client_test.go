package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/versioned/compat"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/unix"
)

// start returns a client of the plugin in that version.
func start(t *testing.T, v version, j job) client {
	t.Helper()
	newest := processor.New()
	both := protocol.Join(example.ServeDataProcessorV2(newest), example.ServeDataProcessorV1(compat.NewV1(newest)))
	c, err := v.newClient(plugintest.Start(t, both, unix.New(), host.WithProtocols(v.protocol)), j)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func operationsOf(t *testing.T, names ...string) []operation {
	t.Helper()
	operations := make([]operation, len(names))
	for i, name := range names {
		var err error
		if operations[i], err = parseOperation(name); err != nil {
			t.Fatal(err)
		}
	}
	return operations
}

// A job that both versions support has the same outcome in both. Only the
// fields of errors differ.
func TestClientsAgree(t *testing.T) {
	texts := []string{" b\na ", "", " c \n\n d"}
	for _, v := range versions() {
		t.Run(v.protocol.String(), func(t *testing.T) {
			c := start(t, v, job{operations: operationsOf(t, "trim", "uppercase", "sort")})
			var got []string
			var failed error
			for rest := texts; len(rest) > 0; {
				n := c.take(rest)
				outcomes, err := c.process(t.Context(), rest[:n])
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range outcomes {
					got = append(got, o.text)
					if o.err != nil {
						failed = o.err
					}
				}
				rest = rest[n:]
			}
			if diff := cmp.Diff([]string{"A\nB", "", "\n D\nC "}, got); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
			field := map[int]string{1: "data", 2: "text"}[v.protocol.Version()]
			s := status.Convert(failed)
			if want := field + ": must not be empty"; s.Code() != codes.InvalidArgument || s.Message() != want {
				t.Errorf("error %v, want %s", failed, want)
			}
			want := []any{&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: "must not be empty"}}}}
			if diff := cmp.Diff(want, s.Details(), protocmp.Transform()); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatOnlyVersion2Can(t *testing.T) {
	c := start(t, versions()[1], job{
		operations: operationsOf(t, "uppercase", "replace=B= x\ny", "sort-down"),
		metadata:   map[string]string{"k": "v"},
	})
	outcomes, err := c.process(t.Context(), []string{"abc"})
	if err != nil {
		t.Fatal(err)
	}
	want := []outcome{{
		text:       "yC\nA x",
		statistics: &example.TextStatistics{Characters: 6, Words: 3, Lines: 2},
		metadata:   map[string]string{"k": "v"},
	}}
	if diff := cmp.Diff(want, outcomes, cmp.AllowUnexported(outcome{}), protocmp.Transform()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// The host refuses a job that version 1 cannot express before it sends
// anything.
func TestWhatVersion1Cannot(t *testing.T) {
	for _, tt := range []struct {
		name string
		job  job
		want string
	}{
		{"an operation", job{operations: operationsOf(t, "trim", "replace=a=b")}, "operation replace needs version 2"},
		{"a parameter", job{operations: operationsOf(t, "sort-unique")}, "operation sort-unique needs version 2"},
		{"another order", job{operations: operationsOf(t, "uppercase", "trim")}, "operation trim after uppercase needs version 2"},
		{"an operation twice", job{operations: operationsOf(t, "trim", "trim")}, "operation trim after trim needs version 2"},
		{"metadata", job{metadata: map[string]string{"k": "v"}}, "metadata needs version 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := newClientV1(nil, tt.job); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, error %v, want %s", c, err, tt.want)
			}
		})
	}
}

// No call exceeds the limits of the .proto, whatever the texts are.
func TestTake(t *testing.T) {
	words := func(n, length int) []string {
		texts := make([]string, n)
		for i := range texts {
			texts[i] = strings.Repeat("x", length)
		}
		return texts
	}
	c := &clientV2{}
	replacing := func(n int) *clientV2 {
		return &clientV2{operations: []*example.Operation{operationsOf(t, "replace=a="+strings.Repeat("b", n))[0].message}}
	}
	medium, long := replacing(160<<10), replacing(5<<20)
	for _, tt := range []struct {
		name   string
		client client
		texts  []string
		want   int
	}{
		{"one", c, words(1, 1), 1},
		{"few", c, words(49, 1), 49},
		{"as many as may be", c, words(50, 1), 50},
		{"more", c, words(1000, 1), 50},
		{"the longest", c, words(51, maxText), 50},
		{"long operations", medium, words(50, maxText), 18},
		{"more than may be, alone", long, words(2, 1), 1},
		{"version 1", &clientV1{}, words(9, 1), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.client.take(tt.texts)
			if got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
			v2, ok := tt.client.(*clientV2)
			if !ok || got == 1 { // one text must be sent, so that there is an error to show
				return
			}
			request := new(example.BatchProcessRequest)
			for _, text := range tt.texts[:got] {
				request.Items = append(request.Items, v2.item(text))
			}
			if size := proto.Size(request); size > maxMessage {
				t.Errorf("%d bytes", size)
			}
		})
	}
}

func TestParseOperation(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"rot13", `unknown operation "rot13": the operations are trim, collapse, uppercase, lowercase, sort, sort-down, sort-unique and replace=OLD=NEW`},
		{"", `unknown operation ""`},
		{"trim=true", `unknown operation "trim=true"`},
		{"replace", "want replace=OLD=NEW"},
		{"replace=a", "want replace=OLD=NEW"},
		{"replace==b", "want replace=OLD=NEW"},
		{"replace=a=\xff", `"a=\xff" is not UTF-8`},
	} {
		if _, err := parseOperation(tt.text); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %s", tt.text, err, tt.want)
		}
	}
	o, err := parseOperation("replace=a=b=c")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&example.Replace{Old: "a", New: "b=c"}, o.message.GetReplace(), protocmp.Transform()); diff != "" {
		t.Errorf("replace (-want +got):\n%s", diff)
	}
}

// A plugin is untrusted input.
func TestStrangeResults(t *testing.T) {
	if err := statusOf(&example.BatchError{Code: int32(codes.OK), Message: "fine"}); status.Code(err) != codes.Unknown {
		t.Errorf("an error that is OK: %v", err)
	}
	if err := statusOf(nil); status.Code(err) != codes.Unknown {
		t.Errorf("no error: %v", err)
	}
	if err := statusOf(&example.BatchError{Code: -7, Message: "odd"}); err == nil {
		t.Error("no error")
	}
	for _, tt := range []struct {
		name    string
		results []*example.BatchResult
		want    string
	}{
		{"too few", nil, "the plugin answered a batch of 1 texts with 0 results"},
		{"too many", []*example.BatchResult{{}, {}}, "the plugin answered a batch of 1 texts with 2 results"},
		{"of no known kind", []*example.BatchResult{{}}, "the plugin's result for text 1 of a batch is neither a response nor an error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &clientV2{client: strange{results: tt.results}}
			if outcomes, err := c.process(t.Context(), []string{"a"}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, error %v, want %s", outcomes, err, tt.want)
			}
		})
	}
}

// strange is a plugin that answers a batch with results of its own.
type strange struct {
	example.DataProcessorV2Client
	results []*example.BatchResult
}

func (s strange) BatchProcess(context.Context, *example.BatchProcessRequest, ...grpc.CallOption) (*example.BatchProcessResponse, error) {
	return &example.BatchProcessResponse{Results: s.results}, nil
}
