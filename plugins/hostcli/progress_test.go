package hostcli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		name  string
		total int64
		add   []int64
		want  string // shown; empty means nothing
	}{
		{"long file", longInput, []int64{longInput / 2, longInput / 2}, "100%"},
		{"short file", longInput - 1, []int64{longInput - 1}, ""},
		{"file that grows", longInput, []int64{longInput, 1}, "100%"},
		{"long stream", -1, []int64{longInput - 1, 1}, "1.0 MB"},
		{"short stream", -1, []int64{longInput - 1}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			p := &Progress{enabled: true, total: tt.total, stderr: &stderr}
			for _, n := range tt.add {
				p.Add(n)
				p.MakeRoom() // does nothing, because the results go elsewhere
			}
			if got := stderr.String(); !strings.Contains(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("shown: %q, want %q", got, tt.want)
			}
			if n := strings.Count(stderr.String(), eraseLine); n != 0 {
				t.Errorf("erased %d times before the end", n)
			}
			p.Remove()
			p.Remove()
			if n := strings.Count(stderr.String(), eraseLine); (tt.want == "") != (n == 0) || n > 1 {
				t.Errorf("erased %d times", n)
			}
		})
	}
}

func TestProgressMakesRoom(t *testing.T) {
	var stderr bytes.Buffer
	p := &Progress{enabled: true, shared: true, total: longInput, stderr: &stderr}
	p.MakeRoom()
	p.Add(longInput)
	p.MakeRoom()
	p.MakeRoom()
	if got := stderr.String(); strings.Count(got, eraseLine) != 1 || !strings.HasSuffix(got, eraseLine) {
		t.Errorf("shown: %q, want the bar and then one erasure", got)
	}
}

func TestProgressNeedsATerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p := NewProgress(longInput, f, f); p.enabled || p.shared {
		t.Errorf("progress %+v, want it disabled", p)
	}
}

type brokenTerminal struct{}

func (brokenTerminal) Write([]byte) (int, error) { return 0, errors.New("hung up") }

// The work continues when the terminal is closed.
func TestProgressGivesUp(t *testing.T) {
	p := &Progress{enabled: true, total: longInput, stderr: brokenTerminal{}}
	p.Add(longInput)
	if p.enabled {
		t.Error("the bar is still enabled")
	}
	p.Remove()
}
