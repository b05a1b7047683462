package compat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/plugwire/plugwire/plugins/versioned/compat"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
)

const maxText = 64 << 10

// v1 is the plugin's handler of version 1. Its tests show the promises of
// version 1: they do not change with newer versions.
func v1() *compat.V1 { return compat.NewV1(processor.New()) }

func TestV1Results(t *testing.T) {
	for _, tt := range []struct {
		name    string
		data    string
		options map[string]string
		want    string
	}{
		{"no options", " a ", nil, " a "},
		{"false", " a ", map[string]string{"trim": "false", "uppercase": "false"}, " a "},
		{"trim", " a ", map[string]string{"trim": "true"}, "a"},
		{"collapse", "a  b", map[string]string{"collapse": "true"}, "a b"},
		{"uppercase", "é", map[string]string{"uppercase": "true"}, "É"},
		{"lowercase", "É", map[string]string{"lowercase": "true"}, "é"},
		{"sort", "b\na\na", map[string]string{"sort": "true"}, "a\na\nb"},
		{"trim before collapse", "  a ", map[string]string{"collapse": "true", "trim": "true"}, "a"},
		{"uppercase before lowercase", "aB", map[string]string{"lowercase": "true", "uppercase": "true"}, "ab"},
		{"collapse before sort", "b\na", map[string]string{"sort": "true", "collapse": "true"}, "b a"},
		{"lowercase before sort", "B\na", map[string]string{"sort": "true", "lowercase": "true"}, "a\nb"},
		{"the longest", strings.Repeat("a", maxText), map[string]string{"uppercase": "true"}, strings.Repeat("A", maxText)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response, err := v1().Process(t.Context(), &example.ProcessRequestV1{Data: tt.data, Options: tt.options})
			if err != nil {
				t.Fatal(err)
			}
			if response.GetResult() != tt.want || response.GetProcessingTime() <= 0 {
				t.Errorf("response %v, want %q", response, tt.want)
			}
		})
	}
}

// Errors name version 1's fields, in the message and in the detail.
func TestV1Errors(t *testing.T) {
	const known = "is unknown: the options are trim, collapse, uppercase, lowercase, sort"
	for _, tt := range []struct {
		name    string
		data    string
		options map[string]string
		want    []*errdetails.BadRequest_FieldViolation
	}{
		{"empty data", "", nil, []*errdetails.BadRequest_FieldViolation{{Field: "data", Description: "must not be empty"}}},
		{
			"long data", strings.Repeat("a", maxText+1), nil,
			[]*errdetails.BadRequest_FieldViolation{{Field: "data", Description: "has 65537 bytes: at most 65536 may be"}},
		},
		{
			"unknown options", "a",
			map[string]string{"rot13": "true", "trim": "true", "": "false"},
			[]*errdetails.BadRequest_FieldViolation{{Field: `options[""]`, Description: known}, {Field: `options["rot13"]`, Description: known}},
		},
		{
			"an operation of version 2 is not an option", "a",
			map[string]string{"replace": "true"},
			[]*errdetails.BadRequest_FieldViolation{{Field: `options["replace"]`, Description: known}},
		},
		{
			"values", "a",
			map[string]string{"trim": "yes", "sort": "", "collapse": "True"},
			[]*errdetails.BadRequest_FieldViolation{
				{Field: `options["collapse"]`, Description: `has the value "True": want true or false`},
				{Field: `options["sort"]`, Description: `has the value "": want true or false`},
				{Field: `options["trim"]`, Description: `has the value "yes": want true or false`},
			},
		},
		{
			"long names and values are cut", "a",
			map[string]string{strings.Repeat("n", 100): "", "trim": strings.Repeat("v", 100)},
			[]*errdetails.BadRequest_FieldViolation{
				{Field: `options["` + strings.Repeat("n", 64) + `"]`, Description: known},
				{Field: `options["trim"]`, Description: `has the value "` + strings.Repeat("v", 64) + `": want true or false`},
			},
		},
		{
			"a long result", strings.Repeat("ɐ", maxText/2),
			map[string]string{"uppercase": "true", "trim": "true"},
			[]*errdetails.BadRequest_FieldViolation{{Field: `options["uppercase"]`, Description: "makes the text longer than 65536 bytes"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v1().Process(t.Context(), &example.ProcessRequestV1{Data: tt.data, Options: tt.options})
			s := status.Convert(err)
			var texts []string
			for _, v := range tt.want {
				texts = append(texts, v.GetField()+": "+v.GetDescription())
			}
			if message := strings.Join(texts, "; "); s.Code() != codes.InvalidArgument || s.Message() != message {
				t.Errorf("status %v %q, want InvalidArgument %q", s.Code(), s.Message(), message)
			}
			if diff := cmp.Diff(tt.want, violation.Of(s), protocmp.Transform()); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestV1ManyMistakes(t *testing.T) {
	options := map[string]string{}
	for i := range 1000 {
		options[fmt.Sprint("option ", i)] = "true"
	}
	_, err := v1().Process(t.Context(), &example.ProcessRequestV1{Data: "a", Options: options})
	s := status.Convert(err)
	if n := len(violation.Of(s)); n != 10 || !strings.HasSuffix(s.Message(), "; and 990 more") {
		t.Errorf("%d violations, message of %d bytes", n, len(s.Message()))
	}
}

// newer is a handler of version 2 that records requests and returns the answer
// that the test sets.
type newer struct {
	example.DataProcessorV2Handler // nil, because version 1 has no other method

	request  *example.ProcessRequestV2
	ctx      context.Context //nolint:containedctx // noted for the test
	response *example.ProcessResponseV2
	err      error
}

func (n *newer) Process(ctx context.Context, request *example.ProcessRequestV2) (*example.ProcessResponseV2, error) {
	n.ctx, n.request = ctx, request
	return n.response, n.err
}

func TestV1Translation(t *testing.T) {
	next := &newer{response: &example.ProcessResponseV2{
		Text:       "result",
		Elapsed:    durationpb.New(1500 * time.Millisecond),
		Statistics: &example.TextStatistics{Words: 1},
		Metadata:   map[string]string{"k": "v"},
	}}
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "the caller's")
	response, err := compat.NewV1(next).Process(ctx, &example.ProcessRequestV1{
		Data:    "text",
		Options: map[string]string{"sort": "true", "trim": "true", "collapse": "false", "lowercase": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if next.ctx.Value(key{}) != "the caller's" {
		t.Error("the context is not the caller's")
	}
	request := &example.ProcessRequestV2{Text: "text", Operations: []*example.Operation{
		{Kind: &example.Operation_Trim{Trim: &example.Trim{}}},
		{Kind: &example.Operation_ChangeCase{ChangeCase: &example.ChangeCase{To: example.LetterCase_LETTER_CASE_LOWER}}},
		{Kind: &example.Operation_SortLines{SortLines: &example.SortLines{}}},
	}}
	if diff := cmp.Diff(request, next.request, protocmp.Transform()); diff != "" {
		t.Errorf("request of version 2 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&example.ProcessResponseV1{Result: "result", ProcessingTime: 1.5}, response, protocmp.Transform()); diff != "" {
		t.Errorf("response of version 1 (-want +got):\n%s", diff)
	}
}

// Errors of version 2 keep their code, and their fields get version 1's names.
func TestV1ErrorTranslation(t *testing.T) {
	invalid := func(fields ...string) error {
		var wrong violation.List
		for _, field := range fields {
			wrong.Add(field, "is wrong")
		}
		return wrong.Err()
	}
	options := map[string]string{"trim": "true", "sort": "true"}
	for _, tt := range []struct {
		name string
		err  error
		want string // the whole error
	}{
		{"text", invalid("text"), "rpc error: code = InvalidArgument desc = data: is wrong"},
		{
			"operations", invalid("operations[1]", "operations[0].trim.hard"),
			`rpc error: code = InvalidArgument desc = options["sort"]: is wrong; options["trim"]: is wrong`,
		},
		{"nothing of version 1", invalid("operations[10]", "metadata"), "rpc error: code = InvalidArgument desc = operations[10]: is wrong; metadata: is wrong"},
		{"without a detail", status.Error(codes.InvalidArgument, "no"), "rpc error: code = InvalidArgument desc = no"},
		{"another code", status.Error(codes.ResourceExhausted, "full"), "rpc error: code = ResourceExhausted desc = full"},
		{"canceled", status.FromContextError(context.Canceled).Err(), "rpc error: code = Canceled desc = context canceled"},
		{"no status", errors.New("broken"), "rpc error: code = Unknown desc = broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response, err := compat.NewV1(&newer{err: tt.err}).Process(t.Context(), &example.ProcessRequestV1{Data: "a", Options: options})
			if response != nil || err == nil || err.Error() != tt.want {
				t.Errorf("%v, error %v\nwant %s", response, err, tt.want)
			}
		})
	}
}

func ExampleNewV1() {
	old := compat.NewV1(processor.New())
	for _, options := range []map[string]string{
		{"uppercase": "true", "trim": "true"},
		{"uppercase": "please"},
	} {
		response, err := old.Process(context.Background(), &example.ProcessRequestV1{Data: " hello ", Options: options})
		if err != nil {
			fmt.Println(status.Convert(err).Message())
			continue
		}
		fmt.Println(response.GetResult())
	}
	// Output:
	// HELLO
	// options["uppercase"]: has the value "please": want true or false
}
