package assistant_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"
	"unicode/utf8"

	"github.com/plugwire/plugwire/plugins/streaming/assistant"
)

func ExampleAssistant_Reply() {
	a := assistant.New(func() []string { return []string{"alice", "bob"} }, nil)
	for _, text := range []string{"good morning", "/who", "/calc 2*(3+4)", "/dance"} {
		fmt.Println(a.Reply(context.Background(), text))
	}
	// Output:
	// 2 words, 12 characters
	// alice, bob
	// 14
	// I do not know /dance. /help lists my commands.
}

// listing returns a function that always lists these files.
func listing(more bool, names ...string) assistant.Files {
	return func(context.Context, int) ([]string, bool, error) { return names, more, nil }
}

func TestReply(t *testing.T) {
	failing := func(context.Context, int) ([]string, bool, error) { return nil, false, errors.New("/secret: no") }
	long := strings.Repeat("x", 255)
	for _, tt := range []struct {
		files assistant.Files
		text  string
		want  string
	}{
		{nil, "a", "1 word, 1 character"},
		{nil, " ", "0 words, 1 character"},
		{nil, "ein Gruß\n日本", "3 words, 11 characters"},
		{nil, "/who", "alice, bob"},
		{nil, "/calc", "I cannot calculate that: the expression is incomplete."},
		{nil, "/calc 1/0", "I cannot calculate that: it divides by zero."},
		{nil, "/calc\t1 + 2", "3"},
		{nil, "/", "I do not know /. /help lists my commands."},
		{nil, "/HELP", "I do not know /HELP. /help lists my commands."},
		{nil, "/\u202e", `I do not know "/\u202e". /help lists my commands.`},
		{listing(false), "/files", "The root directory is empty."},
		{listing(false, "a", "b/"), "/files", "a\nb/"},
		{listing(true, "a"), "/files", "a\nand more"},
		{listing(false, "a\x1b[2J", "b\xff"), "/files", `"a\x1b[2J"` + "\n" + `"b\xff"`},
		{listing(false, long), "/files", long[:100] + "..."},
		{failing, "/files", "I cannot read the root directory."},
	} {
		a := assistant.New(func() []string { return []string{"alice", "bob"} }, tt.files)
		if got := a.Reply(t.Context(), tt.text); got != tt.want {
			t.Errorf("%q is answered %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestHelpAndTime(t *testing.T) {
	a := assistant.New(nil, nil)
	help := a.Reply(t.Context(), "/help")
	for _, command := range []string{"/help", "/time", "/who", "/files", "/calc"} {
		if !strings.Contains(help, "\n"+command+" ") {
			t.Errorf("%s is not in the help", command)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		if got := a.Reply(t.Context(), "/time"); got != "2000-01-01T00:00:00Z" {
			t.Errorf("the time is %s", got)
		}
	})
}

// checkReply checks the room's promises about a reply.
func checkReply(t *testing.T, reply string) {
	t.Helper()
	if reply == "" || len(reply) > 4096 || !utf8.ValidString(reply) ||
		strings.ContainsFunc(reply, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		t.Errorf("the reply is %q", reply)
	}
}

func TestLongestListing(t *testing.T) {
	names := make([]string, 20)
	for i := range names {
		names[i] = strings.Repeat("\U000e0001", 63) // not printable, each 10 bytes when quoted
	}
	reply := assistant.New(nil, listing(false, names...)).Reply(t.Context(), "/files")
	checkReply(t, reply)
	if !strings.HasSuffix(reply, "\nand more") {
		t.Errorf("the reply does not say that there is more: %s", reply)
	}
}

func TestEvaluate(t *testing.T) {
	for _, tt := range []struct {
		expression string
		want       float64
	}{
		{"1", 1},
		{" 1 + 2 * 3 ", 7},
		{"(1+2)*3", 9},
		{"10-4-3", 3},
		{"16/4/2", 2},
		{"2^3^2", 512},
		{"-2^2", -4},
		{"2^-1", 0.5},
		{"2--3", 5},
		{"+-+1", -1},
		{"2*-3", -6},
		{".5+1.", 1.5},
		{"((((1))))", 1},
		{strings.Repeat("(", 50) + "1" + strings.Repeat(")", 50), 1},
		{strings.Repeat("1+", 2000) + "1", 2001},
	} {
		if got, err := assistant.Evaluate(tt.expression); got != tt.want || err != nil {
			t.Errorf("%.40q is %v, %v; want %v", tt.expression, got, err, tt.want)
		}
	}
}

func TestEvaluateErrors(t *testing.T) {
	for _, tt := range []struct{ expression, want string }{
		{"", "the expression is incomplete"},
		{"1+", "the expression is incomplete"},
		{"(1", "the expression is incomplete"},
		{"1)", "')' is not expected"},
		{"1 2", "'2' is not expected"},
		{"*1", "'*' is not expected"},
		{"x", "'x' is not expected"},
		{"1+日", "'日' is not expected"},
		{"\xff", "is not expected"},
		{"1e9", "'e' is not expected"},
		{"0x10", "'x' is not expected"},
		{"1.2.3", "1.2.3 is not a number"},
		{".", ". is not a number"},
		{"1/0", "divides by zero"},
		{"1/(2-2)", "divides by zero"},
		{"9^9^9", "not a number that I can hold"},
		{"(0-8)^.5", "not a number that I can hold"},
		{strings.Repeat("9", 400), "not a number that I can hold"},
		{strings.Repeat("(", 2000), "nested"},
		{strings.Repeat("-", 2000) + "1", "nested"},
		{strings.Repeat("2^", 2000) + "1", "nested"},
	} {
		if got, err := assistant.Evaluate(tt.expression); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q is %v, %v; want an error with %q", tt.expression, got, err, tt.want)
		}
	}
}

func FuzzReply(f *testing.F) {
	a := assistant.New(func() []string { return []string{"alice"} }, listing(true, "a", "b\x00"))
	for _, seed := range []string{"hello", "/help", "/calc 1+(2*3)", "/calc -2^-.5/3", "/\xff", "/ x", "/files x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return // the room refuses such a text
		}
		checkReply(t, a.Reply(t.Context(), text))
	})
}

func FuzzEvaluate(f *testing.F) {
	for _, seed := range []string{"1+2*3", "(1-2)/3^4", "-(-1)", "1.5.", "((", "9^9^9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		value, err := assistant.Evaluate(expression)
		if err != nil {
			return
		}
		if math.IsNaN(value) || math.IsInf(value, 0) {
			t.Errorf("%q is %v", expression, value)
		}
		// Parentheses and signs around an expression do not change its value.
		if got, err := assistant.Evaluate("(" + expression + ")"); err == nil && got != value {
			t.Errorf("%q is %v, and in parentheses %v", expression, value, got)
		}
		text := strconv.FormatFloat(math.Abs(value), 'f', -1, 64)
		if got, err := assistant.Evaluate(text); err != nil || got != math.Abs(value) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	})
}
