package logs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/internal/logs"
)

func TestLineEnds(t *testing.T) {
	input := "one\r\n\n\r\ntwo\nthree\r\r\nfour"
	want := []string{
		"INFO one | stream=stderr", "INFO two | stream=stderr",
		`INFO "three\r" | stream=stderr`, "INFO four | stream=stderr",
	}
	for name, r := range map[string]io.Reader{
		"at once":      strings.NewReader(input),
		"byte by byte": iotest.OneByteReader(strings.NewReader(input)),
		"data and EOF": iotest.DataErrReader(strings.NewReader(input)),
	} {
		_, rec := collect(t, r)
		if diff := cmp.Diff(want, rec.shown()); diff != "" {
			t.Errorf("records of input %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLongLines(t *testing.T) {
	const limit = 1 << 20
	for _, size := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1, limit - 1, limit, limit + 1, 3*limit + 17} {
		long := strings.Repeat("é", size/2) + strings.Repeat("x", size%2)
		_, rec := collect(t, strings.NewReader("before\n"+long+"\r\nafter\n"))
		records := rec.all()
		var got strings.Builder
		pieces := records[1 : len(records)-1]
		for i, record := range pieces {
			got.WriteString(record.Message)
			if len(record.Message) > limit {
				t.Errorf("piece %d of %d bytes has %d", i+1, size, len(record.Message))
			}
			want := []string{"stream=stderr"}
			if size >= limit { // with the carriage return
				want = append(want, "piece="+slog.IntValue(i+1).Kind().String()+"("+slog.IntValue(i+1).String()+")",
					"last=Bool("+slog.BoolValue(i == len(pieces)-1).String()+")")
			}
			if diff := cmp.Diff(want, fields(record)); diff != "" {
				t.Errorf("attributes of piece %d of %d bytes (-want +got):\n%s", i+1, size, diff)
			}
		}
		if got.String() != long {
			t.Errorf("a line of %d bytes came as %d bytes in %d records", size, got.Len(), len(pieces))
		}
		if records[0].Message != "before" || records[len(records)-1].Message != "after" {
			t.Errorf("the lines around one of %d bytes are not what they were", size)
		}
	}
}

func TestLongLineWithItsOwnLevel(t *testing.T) {
	text := strings.Repeat("x", 512<<10)
	_, rec := collect(t, strings.NewReader("[WARN] "+text+"\n"+`{"level":"error","message":"`+text+`"}`))
	if diff := cmp.Diff([]string{"WARN " + text, "ERROR " + text}, rec.shown()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestLastPieceAtEOF(t *testing.T) {
	rec := newRecorder()
	c := newCollector(rec)
	c.SetMaxPiece(4)
	if err := c.Run(strings.NewReader("abcdefg\n€€€")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"INFO abcd | stream=stderr | piece=Int64(1) | last=Bool(false)",
		"INFO efg | stream=stderr | piece=Int64(2) | last=Bool(true)",
		"INFO € | stream=stderr | piece=Int64(1) | last=Bool(false)",
		"INFO € | stream=stderr | piece=Int64(2) | last=Bool(false)",
		"INFO € | stream=stderr | piece=Int64(3) | last=Bool(true)",
	}
	if diff := cmp.Diff(want, rec.shown()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestRunErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct{ err, want error }{
		{io.EOF, nil},
		{os.ErrClosed, nil},
		{&fs.PathError{Op: "read", Path: "|0", Err: os.ErrClosed}, nil},
		{net.ErrClosed, nil},
		{io.ErrClosedPipe, nil},
		{broken, broken},
		{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded}, // Run did not set this deadline
	} {
		rec := newRecorder()
		err := newCollector(rec).Run(io.MultiReader(strings.NewReader("panic: a\nb"), iotest.ErrReader(test.err)))
		if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("Run of a reader that ends with %v returned %v", test.err, err)
		}
		if diff := cmp.Diff([]string{"ERROR panic: a | stack=b"}, rec.shown()); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	}
}

// errWriter accepts n bytes, then fails.
type errWriter struct {
	n     int
	calls int
	err   error
}

func (w *errWriter) Write(b []byte) (int, error) {
	w.calls++
	if w.n < len(b) {
		return w.n, w.err
	}
	w.n -= len(b)
	return len(b), nil
}

func TestCopy(t *testing.T) {
	input := "a\r\n\x00\xff\n\nlast"
	var got bytes.Buffer
	c := logs.NewCollector(slog.New(newRecorder()), logs.CollectorConfig{Copy: &got})
	if err := c.Run(iotest.HalfReader(strings.NewReader(input))); err != nil {
		t.Fatal(err)
	}
	if got.String() != input {
		t.Errorf("copied %q, want %q", got.String(), input)
	}

	for _, test := range []struct{ err, want error }{
		{errors.New("disk full"), errors.New("disk full")},
		{nil, io.ErrShortWrite},
	} {
		rec, w := newRecorder(), &errWriter{n: 2, err: test.err}
		c := logs.NewCollector(slog.New(rec), logs.CollectorConfig{Stream: "stdout", Copy: w})
		if err := c.Run(iotest.OneByteReader(strings.NewReader("a\nb\nc"))); err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, s := range rec.shown() {
			shown = append(shown, strings.ReplaceAll(s, "*errors.errorString", "error"))
		}
		want := []string{
			"INFO a | stream=stdout",
			"WARN no longer copying the output of the plugin | stream=stdout | error=error(" + test.want.Error() + ")",
			"INFO b | stream=stdout", "INFO c | stream=stdout",
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if w.calls != 3 {
			t.Errorf("Write was called %d times, want not again after its error", w.calls)
		}
	}
}

func TestHandlerThatPanics(t *testing.T) {
	var got []string
	c := newCollector(handlerFunc(func(record slog.Record) {
		if strings.Contains(record.Message, "bad") {
			panic("bug on " + record.Message)
		}
		got = append(got, show(record))
	}))
	if err := c.Run(strings.NewReader("a\nbad 1\nb\nbad 2\nc")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"INFO a | stream=stderr",
		"ERROR the log handler panicked; at least one record of the plugin is lost | stream=stderr | panic=bug on bad 1",
		"INFO b | stream=stderr",
		"INFO c | stream=stderr",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}

	calls := 0
	c = newCollector(handlerFunc(func(slog.Record) { calls++; panic("always") }))
	if err := c.Run(strings.NewReader("a\nb")); err != nil || calls != 3 {
		t.Errorf("a handler that always panics: Run returned %v after %d calls, want nil after 2 lines and 1 report", err, calls)
	}
}

func TestTail(t *testing.T) {
	numbered := func(from, to int) string {
		var lines []string
		for i := from; i <= to; i++ {
			lines = append(lines, "line "+slog.IntValue(i).String())
		}
		return strings.Join(lines, "\n")
	}
	for _, test := range []struct{ name, input, want string }{
		{"nothing", "", ""},
		{"few lines", "a\r\n\nb\n", "a\n\nb"},
		{"no line end", "a\nb", "a\nb"},
		{"many lines", numbered(1, 5000) + "\n", numbered(4981, 5000)},
		{"long lines", strings.Repeat(strings.Repeat("x", 4000)+"\n", 9), strings.Repeat("x", 4000) + "\n" + strings.Repeat("x", 4000)},
		{"one endless line", strings.Repeat("x", 100<<10), strings.Repeat("x", 8<<10)},
		{"escape codes", "a\n\x1b[31mred\x00\nb", "a\n\"\\x1b[31mred\\x00\"\nb"},
	} {
		for name, r := range map[string]io.Reader{
			"at once":      strings.NewReader(test.input),
			"byte by byte": iotest.OneByteReader(strings.NewReader(test.input)),
		} {
			c, _ := collect(t, r)
			if diff := cmp.Diff(test.want, c.Tail()); diff != "" {
				t.Errorf("Tail of %s %s (-want +got):\n%s", test.name, name, diff)
			}
		}
	}
}

// Other goroutines call Tail and Panic: the race detector must find nothing.
func TestConcurrentUse(t *testing.T) {
	r, w := io.Pipe()
	_, c, wait := start(t, r)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			io.WriteString(w, "panic: a\n\nstack\n[INFO] b\n")
		}
		w.Close()
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			if text, _, ok := c.Panic(); ok && text != "a" {
				t.Errorf("Panic() = %q", text)
			}
			_ = c.Tail()
		}
	}
	wait()
	if text, stack, ok := c.Panic(); text != "a" || stack != "stack" || !ok {
		t.Errorf("Panic() = %q, %q, %v", text, stack, ok)
	}
}
