package logs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/internal/logs"
)

var lineSeeds = []string{
	"", "plain", "\x00\xff\x1b[31m", "{", "{}", `{"@message":1}`,
	`{"level":"warn","time":"2026-02-03T04:05:06Z","message":"m","g":{"a":[1,{"b":null}]},"":{"x":-1.5e+3}}`,
	`{"level":"INFO+2","msg":"\ud83d\ude00\u0000\\","msg":2,"ts":1770091506.1}`,
	`{"@level":"debug","@timestamp":9e99,"@message":"é` + "\xff" + `"}`,
	`time=2026-02-03T04:05:06.000Z level=WARN msg="a \"b\"" "k k"=1`, "level=INFO msg=", `level="`,
	"2026/02/03 04:05:06 [ERROR] x", "[", "[WARN]", "panic: a", "fatal error: \x1b", "[signal SIGSEGV",
}

// Any line makes at most one record, nothing in which can harm a terminal; the
// text of a plain line and the fields of a JSON object are all there.
func FuzzLine(f *testing.F) {
	for _, seed := range lineSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		line := bytes.ReplaceAll(data, []byte{'\n'}, nil)
		rec := newRecorder()
		c := newCollector(rec)
		if err := c.Run(bytes.NewReader(append(bytes.Clone(line), '\n'))); err != nil {
			t.Fatal(err)
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		records := rec.all()
		if len(records) != min(len(line), 1) {
			t.Fatalf("%d records", len(records))
		}
		c.Panic()
		checkSafe(t, "tail", c.Tail())
		if len(line) == 0 {
			return
		}
		record := records[0]
		checkSafe(t, "message", record.Message)
		attrs := 0
		record.Attrs(func(a slog.Attr) bool {
			attrs++
			checkSafe(t, "attribute", field(a))
			return true
		})
		if plain := attrs == 1 && fields(record)[0] == "stream=stderr"; plain {
			if want := safe(string(line)); record.Message != want {
				t.Errorf("message %q, want %q", record.Message, want)
			}
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(line, &members) == nil && attrs > 1 && attrs < len(members)-3 {
			t.Errorf("%d attributes of an object with %d members", attrs, len(members))
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{
			slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil),
			logs.JSON(&out, -1000).Handler(), logs.Console(&out, -1000).Handler(),
		} {
			if err := h.Handle(t.Context(), record); err != nil {
				t.Errorf("%T: %v", h, err)
			}
		}
	})
}

// However a stream is cut into reads, all of it is copied and the same records
// come out; and the lines of plain text, in pieces or not, are what was written.
func FuzzStream(f *testing.F) {
	for _, seed := range lineSeeds {
		f.Add([]byte(seed+"\r\n\nmore\n"+seed), []byte{1, 2, 3}, uint8(5))
	}
	f.Add([]byte("panic: a\n\tpanic: b\n\ngoroutine 1:\nx\ny\nz\n[INFO] on\n"), []byte{7}, uint8(8))
	f.Add([]byte("€€€€\r\n\xff\xff\xff\xff\xff\n\"\\x00\"\x01\n"), []byte{}, uint8(4))
	f.Add([]byte("\x80\x80\x80\x80\x80\x80\x80\x80\x80\n"), []byte{}, uint8(4))
	f.Fuzz(func(t *testing.T, data, sizes []byte, piece uint8) {
		maxPiece := max(int(piece), utf8.UTFMax)
		run := func(r io.Reader) *recorder {
			rec := newRecorder()
			var copied bytes.Buffer
			c := logs.NewCollector(slog.New(rec), logs.CollectorConfig{Stream: "stderr", Copy: &copied})
			c.SetMaxPiece(maxPiece)
			src := new(bytes.Buffer)
			if err := c.Run(io.TeeReader(r, src)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(copied.Bytes(), src.Bytes()) {
				t.Errorf("copied %q of %q", copied.Bytes(), src.Bytes())
			}
			return rec
		}
		whole, cut := run(bytes.NewReader(data)), run(&cutReader{data: data, sizes: sizes})
		if diff := cmp.Diff(whole.shown(), cut.shown()); diff != "" {
			t.Errorf("records depend on how the stream was cut (-whole +cut):\n%s", diff)
		}

		// A mark before each line makes it one that no logger writes.
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			lines[i] = "~" + line
		}
		records := run(&cutReader{data: []byte(strings.Join(lines, "\n")), sizes: sizes}).all()
		for i, line := range lines {
			if i < len(lines)-1 {
				line = strings.TrimSuffix(line, "\r")
			}
			for last := false; !last; records = records[1:] {
				if len(records) == 0 {
					t.Fatalf("nothing is left for %q", line)
				}
				last = true
				records[0].Attrs(func(a slog.Attr) bool {
					if a.Key == "last" {
						last = a.Value.Bool()
					}
					return true
				})
				var ok bool
				if line, ok = cutMessage(line, records[0].Message); !ok {
					t.Fatalf("message %q is not the beginning of %q", records[0].Message, line)
				}
			}
			if line != "" {
				t.Fatalf("%q was lost", line)
			}
		}
		if len(records) > 0 {
			t.Errorf("%d records too many", len(records))
		}
	})
}

// cutReader returns its data in reads of the given sizes, over and over.
type cutReader struct {
	data, sizes []byte
	reads       int
}

func (r *cutReader) Read(b []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(r.sizes) > 0 {
		n = 1 + int(r.sizes[r.reads%len(r.sizes)])
	}
	r.reads++
	n = copy(b, r.data[:min(n, len(r.data))])
	r.data = r.data[n:]
	return n, nil
}

// cutMessage cuts the text that became the message from the front of line.
func cutMessage(line, message string) (rest string, ok bool) {
	if text, err := strconv.Unquote(message); err == nil && safe(text) == message {
		if rest, ok = strings.CutPrefix(line, text); ok {
			return rest, true
		}
	}
	return strings.CutPrefix(line, message)
}

// safe is how a line may be shown.
func safe(line string) string {
	if utf8.ValidString(line) && strings.IndexFunc(line, harmful) < 0 {
		return line
	}
	return strconv.Quote(line)
}

func harmful(r rune) bool { return unicode.IsControl(r) && r != '\t' }

func checkSafe(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool { return harmful(r) && r != '\n' }) >= 0 {
		t.Errorf("%s %q could harm a terminal", what, s)
	}
}
