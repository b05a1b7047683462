package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

func results() *Results {
	ours := peers.Plugwire("h2", "unix")
	r := &Results{Peers: []string{peers.GoPlugin, ours}}
	for round, v := range [][2]float64{{100, 40}, {200, 100}, {120, 90}} {
		r.Add(peers.GoPlugin, round, measure.Values{measure.UnaryP50: v[0]})
		r.Add(ours, round, measure.Values{measure.UnaryP50: v[1]})
	}
	r.Add(ours, 2, measure.Values{measure.Start: 5})
	return r
}

func TestFigure(t *testing.T) {
	t.Parallel()
	r := results()
	if got, ok := r.Figure(peers.GoPlugin, measure.UnaryP50); !ok || got != (Summary{120, 100, 200}) {
		t.Errorf("figure %v, %t", got, ok)
	}
	if got, ok := r.Figure(peers.GoPlugin, measure.Start); ok {
		t.Errorf("a figure that was not measured: %v", got)
	}
	if got, ok := summarize([]float64{4, 1, 3, 2}); !ok || got != (Summary{2.5, 1, 4}) {
		t.Errorf("the median of an even number: %v, %t", got, ok)
	}
}

// TestRatio checks that the ratio is that of the medians, and its range that of the
// rounds.
func TestRatio(t *testing.T) {
	t.Parallel()
	r := results()
	ours := r.Peers[1]
	if got, ok := r.Ratio(ours, peers.GoPlugin, measure.UnaryP50); !ok || got != (Summary{0.75, 0.4, 0.75}) {
		t.Errorf("ratio %v, %t", got, ok)
	}
	if got, ok := r.Ratio(ours, peers.GoPlugin, measure.Start); ok {
		t.Errorf("a ratio to nothing: %v", got)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	got := results().compare("Two", peers.GoPlugin, []string{peers.Raw, peers.GoPlugin, results().Peers[1]})
	want := `### Two

Bold: ratio to go-plugin.

| measure                                              | unit | go-plugin     | plugwire-h2-unix         |
| ---------------------------------------------------- | ---- | ------------- | ------------------------ |
| unary call of 64 bytes, 1 caller, quick handler, p50 | us   | 120 (100-200) | 90.0 (40.0-100) **0.75** |
| start to first answer                                | ms   | -             | 5.00                     |

`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	if err := results().WriteJSON(&got); err != nil {
		t.Fatal(err)
	}
	const want = `{"peer":"go-plugin","measure":"unary_p50","unit":"us","more_is_better":false,"median":120,"min":100,"max":200,"rounds":[100,200,120],"ratio_to_go_plugin":1}`
	first, rest, _ := strings.Cut(got.String(), "\n")
	if first != want || strings.Count(rest, "\n") != 2 {
		t.Errorf("first line\n%s\nwant\n%s\nand two more, not\n%s", first, want, rest)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	page := "before\n" + blockBegin + "old\n" + blockEnd + "after\n"
	got, err := Replace(page, "new")
	if want := "before\n" + blockBegin + "\nnew\n\n" + blockEnd + "after\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if again, err := Replace(got, "new"); err != nil || again != got {
		t.Errorf("a second time: %q, %v", again, err)
	}
	if _, err := Replace("no marks", "new"); err == nil {
		t.Error("a page without marks is accepted")
	}
}

func TestAims(t *testing.T) {
	t.Parallel()
	for _, a := range Aims() {
		if _, ok := measure.Find(a.Key); !ok || a.Peer == "" || a.Limit <= 0 {
			t.Errorf("%+v is about nothing", a)
		}
	}
	r := results()
	ours := r.Peers[1]
	for _, tt := range []struct {
		aim     Aim
		met, ok bool
		text    string
	}{
		{Aim{measure.UnaryP50, ours, peers.GoPlugin, false, 0.75}, true, true, "<= 0.75 x"},
		{Aim{measure.UnaryP50, ours, peers.GoPlugin, false, 0.7}, false, true, "<= 0.7 x"},
		{Aim{measure.UnaryP50, ours, "", true, 90}, true, true, ">= 90"},
		{Aim{measure.BidiP50, ours, "", true, 90}, false, false, ">= 90"},
	} {
		if _, met, ok := tt.aim.Check(r); met != tt.met || ok != tt.ok || tt.aim.String() != tt.text {
			t.Errorf("%s: met %t, measured %t; want %t, %t, %s", tt.aim, met, ok, tt.met, tt.ok, tt.text)
		}
	}
}

// TestPage checks that the page of the project has the marks.
func TestPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Replace(string(page), "text"); err != nil {
		t.Error(err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(name, []byte(blockBegin+blockEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(name, "text"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != blockBegin+"\ntext\n\n"+blockEnd {
		t.Errorf("%q, %v", got, err)
	}
	if err := Write(name+"2", "text"); err == nil {
		t.Error("a page that does not exist is written")
	}
}
