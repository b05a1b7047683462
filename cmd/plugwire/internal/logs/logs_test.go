package logs

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// A record is a line, with its attributes in their order. What a plugin says cannot control
// a terminal.
func TestLine(t *testing.T) {
	t.Parallel()
	c := &command{out: output.New(os.Stdout, os.Stderr)}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.Local) //nolint:gosmopolitan // records are shown in local time
	for _, tt := range []struct {
		record record
		want   string
	}{
		{record{Time: at, Level: "INFO", Plugin: "p", PID: 7, Message: "hello"}, "INFO   p[7]  hello\n"},
		{record{Time: at, Level: "WARN+1", Plugin: "p\nq", Message: "a\nb\x1b[2J\n"}, "WARN+1  p q  a\n    b\uFFFD[2J\n"},
		{record{Time: at, Level: "ERROR", Plugin: "p", Message: "m", Attrs: json.RawMessage(`{"z":1,"a":"x","s":"two words","g":{"b":[1]},"e":""}`)}, "ERROR  p  m z=1 a=x s=\"two words\" g={\"b\":[1]} e=\"\"\n"},
		{record{Time: at, Level: "INFO", Plugin: "p", Message: "m", Attrs: json.RawMessage(`[1]`)}, "INFO   p  m\n"},
	} {
		if got, want := c.line(tt.record), "2026-01-02 03:04:05.006  "+tt.want; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestParseSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{"": {}, "10m": now.Add(-10 * time.Minute), "2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"-1m", "yesterday", "10"} {
		if _, err := parseSince(text, now); err == nil || !strings.HasPrefix(err.Error(), "-since "+text+": want a duration") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
