package processor_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
)

const (
	upper = example.LetterCase_LETTER_CASE_UPPER
	lower = example.LetterCase_LETTER_CASE_LOWER

	// These are the promised limits.
	maxText          = 64 << 10
	maxOperations    = 32
	maxMetadata      = 16
	maxMetadataBytes = 4 << 10
)

func trim() *example.Operation {
	return &example.Operation{Kind: &example.Operation_Trim{Trim: &example.Trim{}}}
}

func collapse() *example.Operation {
	return &example.Operation{Kind: &example.Operation_CollapseSpace{CollapseSpace: &example.CollapseSpace{}}}
}

func changeCase(to example.LetterCase) *example.Operation {
	return &example.Operation{Kind: &example.Operation_ChangeCase{ChangeCase: &example.ChangeCase{To: to}}}
}

func sortLines(descending, unique bool) *example.Operation {
	return &example.Operation{Kind: &example.Operation_SortLines{SortLines: &example.SortLines{Descending: descending, Unique: unique}}}
}

func replace(was, becomes string) *example.Operation {
	return &example.Operation{Kind: &example.Operation_Replace{Replace: &example.Replace{Old: was, New: becomes}}}
}

func request(text string, operations ...*example.Operation) *example.ProcessRequestV2 {
	return &example.ProcessRequestV2{Text: text, Operations: operations}
}

func TestOperations(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request *example.ProcessRequestV2
		want    string
	}{
		{"none", request(" a "), " a "},
		{"trim", request("\n\u00a0 a b\t ", trim()), "a b"},
		{"trim leaves nothing", request(" ", trim()), ""},
		{"collapse", request(" \t a\u2003\u2003b\n\nc ", collapse()), " a b c "},
		{"collapse only space", request(" \n ", collapse()), " "},
		{"collapse what has no space", request("añb", collapse()), "añb"},
		{"upper", request("Straße é", changeCase(upper)), "STRAßE É"},
		{"lower", request("ÀB", changeCase(lower)), "àb"},
		{"sort", request("b\na\nc", sortLines(false, false)), "a\nb\nc"},
		{"sort keeps the end", request("b\na\n", sortLines(false, false)), "a\nb\n"},
		{"sort keeps empty lines", request("b\n\na\n\n", sortLines(false, false)), "\n\na\nb\n"},
		{"sort down", request("b\na\nc\na\n", sortLines(true, false)), "c\nb\na\na\n"},
		{"sort unique", request("b\na\nb", sortLines(false, true)), "a\nb"},
		{"sort unique down", request("b\na\nb\nc", sortLines(true, true)), "c\nb\na"},
		{"replace", request("aaa b", replace("aa", "c")), "ca b"},
		{"replace by nothing", request("a-b-c", replace("-", "")), "abc"},
		{"replace what is not there", request("abc", replace("x", "y")), "abc"},
		{"one order", request("a", changeCase(upper), replace("a", "b")), "A"},
		{"the other order", request("a", replace("a", "b"), changeCase(upper)), "B"},
		{"one kind twice", request("a", replace("a", "b"), replace("b", "c")), "c"},
		{"an operation on nothing", request(" ", trim(), sortLines(false, true), changeCase(upper), replace("a", "b")), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response, err := processor.New().Process(t.Context(), tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if response.GetText() != tt.want {
				t.Errorf("text %q, want %q", response.GetText(), tt.want)
			}
		})
	}
}

func TestStatistics(t *testing.T) {
	for _, tt := range []struct {
		text                     string
		characters, words, lines int64
	}{
		{"a", 1, 1, 1},
		{"äö ü\n", 5, 2, 1},
		{"a\n\nb c", 6, 3, 3},
		{"\n", 1, 0, 1},
		{" ", 1, 0, 1},
	} {
		response, err := processor.New().Process(t.Context(), request(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		want := &example.TextStatistics{Characters: tt.characters, Words: tt.words, Lines: tt.lines}
		if diff := cmp.Diff(want, response.GetStatistics(), protocmp.Transform()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
	response, err := processor.New().Process(t.Context(), request("  ", trim()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&example.TextStatistics{}, response.GetStatistics(), protocmp.Transform()); diff != "" {
		t.Errorf("they are of the result (-want +got):\n%s", diff)
	}
}

func TestMetadataComesBack(t *testing.T) {
	metadata := map[string]string{"id": "7", "": "", "source": "a file"}
	response, err := processor.New().Process(t.Context(), &example.ProcessRequestV2{Text: "a", Metadata: maps.Clone(metadata)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(metadata, response.GetMetadata()); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		response, err := processor.New().Process(t.Context(), request("a"))
		if err != nil {
			t.Fatal(err)
		}
		// The time of a bubble stands still while a goroutine works.
		if got := response.GetElapsed(); got == nil || got.AsDuration() != 0 {
			t.Errorf("elapsed %v, want 0", got)
		}
	})
	response, err := processor.New().Process(t.Context(), request(strings.Repeat("b\na\n", maxText/4), sortLines(false, false)))
	if err != nil {
		t.Fatal(err)
	}
	if got := response.GetElapsed().AsDuration(); got <= 0 || got > time.Minute {
		t.Errorf("elapsed %v", got)
	}
}

// TestAtTheLimits checks that the limits are exact.
func TestAtTheLimits(t *testing.T) {
	text := strings.Repeat("a", maxText)
	operations := make([]*example.Operation, maxOperations)
	for i := range operations {
		operations[i] = replace("a", "b")
	}
	metadata := map[string]string{"long": strings.Repeat("m", maxMetadataBytes-len("long")-15)}
	for i := range maxMetadata - 1 {
		metadata[string(rune('a'+i))] = ""
	}
	response, err := processor.New().Process(t.Context(), &example.ProcessRequestV2{Text: text, Operations: operations, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	if response.GetText() != strings.Repeat("b", maxText) {
		t.Errorf("%d bytes that are not all b", len(response.GetText()))
	}
	if response, err = processor.New().Process(t.Context(), request(text[:maxText/2], replace("a", "bb"))); err != nil || len(response.GetText()) != maxText {
		t.Errorf("a result of %d bytes, %v", len(response.GetText()), err)
	}
}

func TestInvalid(t *testing.T) {
	many := make([]*example.Operation, maxOperations+1)
	for i := range many {
		many[i] = trim()
	}
	entries := map[string]string{}
	for i := range maxMetadata + 1 {
		entries[string(rune('a'+i))] = ""
	}
	for _, tt := range []struct {
		name    string
		request *example.ProcessRequestV2
		want    string // message
		fields  []string
	}{
		{"nothing", nil, "text: must not be empty", []string{"text"}},
		{"empty text", request(""), "text: must not be empty", []string{"text"}},
		{"long text", request(strings.Repeat("a", maxText+1)), "text: has 65537 bytes: at most 65536 may be", []string{"text"}},
		{"many operations", request("a", many...), "operations: has 33 operations: at most 32 may be", []string{"operations"}},
		{"an unknown kind", request("a", trim(), &example.Operation{}), "operations[1]: is of no kind that this plugin knows", []string{"operations[1]"}},
		{"a nil operation", request("a", nil), "operations[0]: is of no kind that this plugin knows", []string{"operations[0]"}},
		{
			"no case", request("a", changeCase(0)),
			"operations[0].change_case.to: has the value LETTER_CASE_UNSPECIFIED: want LETTER_CASE_UPPER or LETTER_CASE_LOWER",
			[]string{"operations[0].change_case.to"},
		},
		{
			"a case of the future", request("a", changeCase(77)),
			"operations[0].change_case.to: has the value 77: want LETTER_CASE_UPPER or LETTER_CASE_LOWER",
			[]string{"operations[0].change_case.to"},
		},
		{"replace nothing", request("a", replace("", "b")), "operations[0].replace.old: must not be empty", []string{"operations[0].replace.old"}},
		{"many entries", &example.ProcessRequestV2{Text: "a", Metadata: entries}, "metadata: has 17 entries: at most 16 may be", []string{"metadata"}},
		{
			"long metadata", &example.ProcessRequestV2{Text: "a", Metadata: map[string]string{"k": strings.Repeat("v", maxMetadataBytes)}},
			"metadata: has 4097 bytes: at most 4096 may be",
			[]string{"metadata"},
		},
		{
			"several", request("", replace("", ""), trim(), changeCase(0)),
			"text: must not be empty; operations[0].replace.old: must not be empty; " +
				"operations[2].change_case.to: has the value LETTER_CASE_UNSPECIFIED: want LETTER_CASE_UPPER or LETTER_CASE_LOWER",
			[]string{"text", "operations[0].replace.old", "operations[2].change_case.to"},
		},
		{
			"a long result", request(strings.Repeat("a", maxText), trim(), replace("a", "bb")),
			"operations[1]: makes the text longer than 65536 bytes",
			[]string{"operations[1]"},
		},
		{
			"a result that nobody could hold", request(strings.Repeat("a", maxText), replace("a", strings.Repeat("b", 64<<20))),
			"operations[0]: makes the text longer than 65536 bytes",
			[]string{"operations[0]"},
		},
		{
			"letters that are longer in upper case", request(strings.Repeat("ɐ", maxText/2), changeCase(upper)),
			"operations[0]: makes the text longer than 65536 bytes",
			[]string{"operations[0]"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := processor.New().Process(t.Context(), tt.request)
			wantInvalid(t, err, tt.want, tt.fields...)
		})
	}
}

// The answer to a request with many mistakes stays small.
func TestManyMistakes(t *testing.T) {
	operations := make([]*example.Operation, maxOperations)
	for i := range operations {
		operations[i] = replace("", "")
	}
	_, err := processor.New().Process(t.Context(), request("a", operations...))
	s := status.Convert(err)
	if n := len(violation.Of(s)); n != 10 || !strings.HasSuffix(s.Message(), "; and 22 more") {
		t.Errorf("%d violations, message %q", n, s.Message())
	}
}

// wantInvalid checks an INVALID_ARGUMENT status and its detail.
func wantInvalid(t *testing.T, err error, message string, fields ...string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || s.Message() != message {
		t.Errorf("status %v %q, want InvalidArgument %q", s.Code(), s.Message(), message)
	}
	var got, texts []string
	for _, v := range violation.Of(s) {
		got = append(got, v.GetField())
		texts = append(texts, v.GetField()+": "+v.GetDescription())
	}
	if diff := cmp.Diff(fields, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if text := strings.Join(texts, "; "); text != message {
		t.Errorf("violations %q, want those of the message", text)
	}
}

func TestProcessCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := processor.New().Process(ctx, request("a", trim()))
	if status.Code(err) != codes.Canceled {
		t.Errorf("error %v, want Canceled", err)
	}
}
