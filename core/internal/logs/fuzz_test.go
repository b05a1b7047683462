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
	"{\"level\":30,\"record\":{\"level\":{\"name\":\"INFO\"},\"time\":{\"timestamp\":1e9}},\"@fields\":{},\"fields\":{\"message\":\"\"}}",
	`{"short_message":"x","level":3,"instant":{"epochSecond":1770091506,"nanoOfSecond":1}}`, "a=\"\u202e\" level=warn msg=⚠️",
	"I1130 18:51:31.993735 1 x.go:43] \"m\" k=\"v\"", "I0000 00:00:1770091506.1 1 x.go:43]", "W, [2026-02-03T04:05:06.1 #1]  WARN -- p: x",
	"2026-02-03T04:05:06.123Z\tWARN\ta.b\tx.go:1\tm\t{\"k\":1}", "1.7e9\tinfo\tm", "\x1b[33mWARN\x1b[0m[0000] x", "6:51PM ERR x", "<165>1 x",
	"2026-02-03 04:05:06,123 - a.b - WARNING - x", "[2026-02-03T04:05:06Z WARN  x] y", "2026-02-03 04:05:06 | INFO | x", "WARNING:a:b", "info: A.B[0]",
	"Feb  3 04:05:06 [x] [y] INFO z", "0203 04:05:06 -99:99", "2026/02/03 04:05:06 [ERROR] x", "[", "[WARN]", "panic: a", "fatal error: \x1b", "[signal SIGSEGV",
}

// Any line makes at most one record, and nothing in it can harm a terminal. It
// has the whole text of a plain line and all fields of a JSON object.
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
		t.Setenv("NO_COLOR", "1")
		for name, output := range map[string]func(w io.Writer) slog.Handler{
			"slog text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			"slog JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
			"JSON":      func(w io.Writer) slog.Handler { return logs.JSON(w, -1000).Handler() },
			"console":   func(w io.Writer) slog.Handler { return logs.Console(w, -1000).Handler() },
			"hclog":     func(w io.Writer) slog.Handler { return logs.Hclog(w, -1000).Handler() },
		} {
			var out bytes.Buffer
			h := output(&out).WithAttrs([]slog.Attr{slog.String("plugin", "mine"), slog.Int("pid", 1)})
			if err := h.Handle(t.Context(), record); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			shown, ok := strings.CutSuffix(out.String(), "\n")
			if !ok || strings.Contains(shown, "\n") {
				t.Errorf("%s has no single line: %q", name, out.String())
			}
			checkLine(t, name, shown)
			if strings.HasSuffix(name, "JSON") {
				checkKeys(t, shown)
			}
		}
	})
}

// However a stream is cut into reads, the Collector copies all of it and makes
// the same records. The lines of plain text, in pieces or not, are exactly the
// written ones.
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

		// No logger writes lines that begin with this mark.
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

// safe returns the form in which a line may be shown.
func safe(line string) string {
	if isHarmless(line) {
		return line
	}
	return logs.Quote(line)
}

// harmful reports whether r may not be in a line. The character that asks for the
// coloured form of the symbol before it may.
func harmful(before, r rune) bool {
	return hides(r) && r != '\t' && (r != '\ufe0f' || !unicode.Is(unicode.So, before) || before == utf8.RuneError)
}

func isHarmless(s string) bool {
	before := rune(0)
	for _, r := range s {
		if r != '\n' && harmful(before, r) {
			return false
		}
		before = r
	}
	return utf8.ValidString(s)
}

func checkSafe(t *testing.T, what, s string) {
	t.Helper()
	if !isHarmless(s) {
		t.Errorf("%s %q could harm a terminal", what, s)
	}
}
