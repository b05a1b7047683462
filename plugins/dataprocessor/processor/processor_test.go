package processor_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/dataprocessor/processor"
)

const maxText = 2 << 20

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// mustProcess processes data and returns the result.
func mustProcess(t *testing.T, p *processor.Processor, request *example.ProcessRequest) string {
	t.Helper()
	response, err := p.ProcessData(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return response.GetResult()
}

func TestProcessData(t *testing.T) {
	for _, tt := range []struct {
		name    string
		data    string
		options map[string]string
		tags    []string
		want    string
	}{
		{name: "unchanged", data: " Ab\tc ", want: " Ab\tc "},
		{name: "false options", data: "Ab", options: map[string]string{"uppercase": "false", "reverse": "false"}, want: "Ab"},
		{name: "uppercase", data: "naïve", options: map[string]string{"uppercase": "true"}, want: "NAÏVE"},
		{name: "uppercase with full mapping", data: "straße ﬁn", options: map[string]string{"uppercase": "true"}, want: "STRASSE FIN"},
		{name: "uppercase but not lowercase", data: "Ab", options: map[string]string{"uppercase": "true", "lowercase": "false"}, want: "AB"},
		{name: "lowercase", data: "ÀB", options: map[string]string{"lowercase": "true"}, want: "àb"},
		{name: "lowercase with final sigma", data: "ΟΔΟΣ", options: map[string]string{"lowercase": "true"}, want: "οδος"},
		{name: "reverse", data: "abc", options: map[string]string{"reverse": "true"}, want: "cba"},
		{name: "reverse combining accent", data: "e\u0301a", options: map[string]string{"reverse": "true"}, want: "ae\u0301"},
		{name: "reverse flag and family", data: "a🇩🇪👩‍👩‍👧b", options: map[string]string{"reverse": "true"}, want: "b👩‍👩‍👧🇩🇪a"},
		{name: "trim", data: "\u00a0\n a b \t", options: map[string]string{"trim": "true"}, want: "a b"},
		{name: "trim to nothing", data: "  ", options: map[string]string{"trim": "true"}, want: ""},
		{
			name: "sha256", data: "abc", options: map[string]string{"sha256": "true"},
			want: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		},
		{name: "order: trim before reverse", data: "ab ", options: map[string]string{"trim": "true", "reverse": "true"}, want: "ba"},
		{
			name: "order: sha256 last", data: " CBA ",
			options: map[string]string{"sha256": "true", "reverse": "true", "lowercase": "true", "trim": "true"},
			want:    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		},
		{name: "one tag", data: "x", tags: []string{"a"}, want: "[a] x"},
		{name: "tags are not processed", data: "x", tags: []string{"a", "b"}, options: map[string]string{"uppercase": "true"}, want: "[a,b] X"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response, err := processor.New().ProcessData(t.Context(), &example.ProcessRequest{Data: tt.data, Options: tt.options, Tags: tt.tags})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, response.GetResult()); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if response.GetStatusCode() != 0 {
				t.Errorf("status code %d, want 0", response.GetStatusCode())
			}
			if seconds := response.GetProcessingTime(); seconds <= 0 || seconds > 60 {
				t.Errorf("processing time %v s", seconds)
			}
		})
	}
}

func TestProcessDataInvalid(t *testing.T) {
	const known = ": the options are trim, uppercase, lowercase, reverse, sha256"
	long := strings.Repeat("x", 100)
	for _, tt := range []struct {
		name    string
		data    string
		options map[string]string
		field   string
		message string
	}{
		{"no data", "", nil, "data", "data field is required"},
		{"unknown option", "x", map[string]string{"rot13": "true"}, `options["rot13"]`, `unknown option "rot13"` + known},
		{"unknown option that is off", "x", map[string]string{"Trim": "false"}, `options["Trim"]`, `unknown option "Trim"` + known},
		{"first of several, by name", "x", map[string]string{"b": "", "a": "", "c": ""}, `options["a"]`, `unknown option "a"` + known},
		{"endless name", "x", map[string]string{long: "true"}, `options["` + long[:64] + `"]`, `unknown option "` + long[:64] + `"` + known},
		{"invalid value", "x", map[string]string{"trim": "yes"}, `options["trim"]`, `option trim has the value "yes": want true or false`},
		{"value in capitals", "x", map[string]string{"trim": "TRUE"}, `options["trim"]`, `option trim has the value "TRUE": want true or false`},
		{"empty value", "x", map[string]string{"trim": ""}, `options["trim"]`, `option trim has the value "": want true or false`},
		{"long data", strings.Repeat("x", maxText+1), nil, "data", "data has 2097153 bytes: at most 2097152 may be"},
		{
			"a long result", strings.Repeat("ɐ", maxText/2),
			map[string]string{"uppercase": "true", "sha256": "true"},
			`options["uppercase"]`, "option uppercase makes the text longer than 2097152 bytes",
		},
		{
			"contradiction", "x",
			map[string]string{"uppercase": "true", "lowercase": "true"},
			"options", "options uppercase and lowercase exclude each other",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := processor.New()
			_, err := p.ProcessData(t.Context(), &example.ProcessRequest{Data: tt.data, Options: tt.options})
			wantInvalid(t, err, tt.field, tt.message)
			if items := mustStream(t, p, &example.StreamRequest{}); len(items) != 0 {
				t.Errorf("%d results were stored", len(items))
			}
		})
	}
}

func TestAtTheLimits(t *testing.T) {
	p := processor.New()
	long := strings.Repeat("x", maxText-len("[a] "))
	if got := mustProcess(t, p, &example.ProcessRequest{Data: long, Tags: []string{"a"}}); len(got) != maxText {
		t.Errorf("a result of %d bytes, want %d", len(got), maxText)
	}
	_, err := p.ProcessData(t.Context(), &example.ProcessRequest{Data: long, Tags: []string{"ab"}})
	wantInvalid(t, err, "tags", "the tags make the result longer than 2097152 bytes")
}

// wantInvalid checks an INVALID_ARGUMENT status and its detail.
func wantInvalid(t *testing.T, err error, field, message string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || s.Message() != message {
		t.Errorf("status %v %q, want InvalidArgument %q", s.Code(), s.Message(), message)
	}
	if len(s.Details()) != 1 {
		t.Fatalf("%d details, want 1", len(s.Details()))
	}
	violations := s.Details()[0].(*errdetails.BadRequest).GetFieldViolations()
	if len(violations) != 1 || violations[0].GetField() != field || violations[0].GetDescription() != message {
		t.Errorf("violations %v, want one of field %s", violations, field)
	}
}

func TestProcessDataCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := processor.New().ProcessData(ctx, &example.ProcessRequest{Data: "x", Options: map[string]string{"trim": "true"}})
	if status.Code(err) != codes.Canceled {
		t.Errorf("error %v, want Canceled", err)
	}
}

// A resultStream is the plugin's end of a StreamResults call.
type resultStream struct {
	grpc.ServerStream                 // nil, because the handler does not use it
	ctx               context.Context //nolint:containedctx // a stream has its call's context
	send              func(*example.ResultItem) error
}

func (s *resultStream) Context() context.Context            { return s.ctx }
func (s *resultStream) Send(item *example.ResultItem) error { return s.send(item) }

// mustStream returns the items that StreamResults sends.
func mustStream(t *testing.T, p *processor.Processor, request *example.StreamRequest) []*example.ResultItem {
	t.Helper()
	var items []*example.ResultItem
	err := p.StreamResults(request, &resultStream{ctx: t.Context(), send: func(item *example.ResultItem) error {
		items = append(items, item)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestStreamResults(t *testing.T) {
	p := processor.New()
	for _, data := range []string{"one", "two", "three", "4", "5", "6", "7", "8", "9", "10", "11", "twelve"} {
		mustProcess(t, p, &example.ProcessRequest{Data: data, Tags: []string{"n"}})
	}
	for _, tt := range []struct {
		name  string
		query string
		limit int32
		want  []string // ids
	}{
		{"newest first", "t", 0, []string{"12", "3", "2"}},
		{"case matters", "T", 0, nil},
		{"the result is searched, tags and all", "[n] o", 0, []string{"1"}},
		{"limit", "t", 2, []string{"12", "3"}},
		{"limit above the matches", "t", 100, []string{"12", "3", "2"}},
		{"default limit", "", 0, []string{"12", "11", "10", "9", "8", "7", "6", "5", "4", "3"}},
		{"all", "", 100, []string{"12", "11", "10", "9", "8", "7", "6", "5", "4", "3", "2", "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ids []string
			for _, item := range mustStream(t, p, &example.StreamRequest{Query: tt.query, Limit: tt.limit}) {
				ids = append(ids, item.GetId())
			}
			if diff := cmp.Diff(tt.want, ids); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStreamResultsNegativeLimit(t *testing.T) {
	err := processor.New().StreamResults(&example.StreamRequest{Limit: -1}, &resultStream{ctx: t.Context()})
	wantInvalid(t, err, "limit", "limit must not be negative, it is -1")
}

func TestStreamResultsStopsWhenCanceled(t *testing.T) {
	p := processor.New()
	for range 100 {
		mustProcess(t, p, &example.ProcessRequest{Data: "x"})
	}
	for _, tt := range []struct {
		name  string
		query string
		after int // items sent when the caller cancels
	}{
		{"between items", "x", 3},
		{"while nothing matches", "y", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sent := 0
			if sent == tt.after {
				cancel()
			}
			err := p.StreamResults(&example.StreamRequest{Query: tt.query, Limit: 100}, &resultStream{ctx: ctx, send: func(*example.ResultItem) error {
				if sent++; sent == tt.after {
					cancel()
				}
				return nil
			}})
			if status.Code(err) != codes.Canceled || sent != tt.after {
				t.Errorf("error %v after %d items, want Canceled after %d", err, sent, tt.after)
			}
		})
	}
}

func TestStreamResultsReturnsTheStreamsError(t *testing.T) {
	p := processor.New()
	mustProcess(t, p, &example.ProcessRequest{Data: "x"})
	want := status.Error(codes.Unavailable, "gone")
	err := p.StreamResults(&example.StreamRequest{}, &resultStream{ctx: t.Context(), send: func(*example.ResultItem) error { return want }})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := processor.New()
		time.Sleep(90*time.Second + 999*time.Millisecond)
		want := time.Now().Unix()
		mustProcess(t, p, &example.ProcessRequest{Data: "x"})
		items := mustStream(t, p, &example.StreamRequest{})
		if len(items) != 1 || items[0].GetTimestamp() != want {
			t.Errorf("items %v, want one with the timestamp %d", items, want)
		}
		s, err := p.GetStatus(t.Context(), &example.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if s.GetStatus() != "healthy" || s.GetVersion() != processor.Version || s.GetUptime() != 90 {
			t.Errorf("status %v, want healthy, version %s, uptime 90", s, processor.Version)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	p := processor.New()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := p.ProcessData(t.Context(), &example.ProcessRequest{Data: "ab", Options: map[string]string{"uppercase": "true"}}); err != nil {
					t.Error(err)
				}
				mustStream(t, p, &example.StreamRequest{Query: "B"})
			}
		})
	}
	wg.Wait()
	if items := mustStream(t, p, &example.StreamRequest{Limit: 1000}); len(items) != 8*50 {
		t.Errorf("%d results, want %d", len(items), 8*50)
	}
}
