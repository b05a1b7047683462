package hunt_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/internal/hunt"
)

const tests = `package m

import (
	"os"
	"strconv"
	"testing"
)

// count is how often this was called in all processes.
func count(t *testing.T, name string) int {
	data, _ := os.ReadFile(name)
	n, _ := strconv.Atoi(string(data))
	n++
	if err := os.WriteFile(name, []byte(strconv.Itoa(n)), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGood(t *testing.T) {}

func TestNowAndThen(t *testing.T) {
	if n := count(t, "now"); n%5 == 0 {
		t.Errorf("call %d\nis one of those", n)
	}
}

func TestEndsProcess(t *testing.T) {
	if n := count(t, "ends"); n == 3 {
		go panic("no more")
		select {}
	}
}
`

// compile compiles the tests of this module.
func compile(t *testing.T) hunt.Binary {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module example.com/m\n\ngo 1.26.0\n", "m_test.go": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "m.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", path)
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return hunt.Binary{Package: "m", Path: path, Dir: dir, Tests: []string{"TestGood", "TestNowAndThen", "TestEndsProcess"}}
}

func TestHunt(t *testing.T) {
	var progress bytes.Buffer
	results := hunt.Run(t.Context(), hunt.Config{Binaries: []hunt.Binary{compile(t)}, Alone: 50, Duration: time.Hour, Progress: &progress})
	if len(results) != 3 {
		t.Fatalf("%d results, want 3: %v", len(results), results)
	}
	good, now, ends := results[0], results[1], results[2]
	if good.Runs != 50 || good.Failed != 0 {
		t.Errorf("%+v", good)
	}
	if now.Runs != 50 || now.Failed != 10 || now.First != "TestNowAndThen: call 5" {
		t.Errorf("%+v", now)
	}
	if ends.Runs < 50 || ends.Failed != 1 || !strings.Contains(ends.First, "no more") {
		t.Errorf("%+v", ends)
	}
	if n := strings.Count(progress.String(), " failed: "); n != 2 {
		t.Errorf("%d failures were told, want 2:\n%s", n, &progress)
	}
	table := hunt.Table(results, false)
	if lines := strings.Split(table, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[1], "m        TestNowAndThen   50 of 50  10        TestNowAndThen: call 5") {
		t.Errorf("the table is\n%s", table)
	}
}

// A binary as a whole fails when one of its tests does. The hunt ends when its
// time is over, even if runs are left.
func TestWhole(t *testing.T) {
	binary := compile(t)
	results := hunt.Run(t.Context(), hunt.Config{Binaries: []hunt.Binary{binary}, Whole: 10, Duration: time.Hour, Progress: new(bytes.Buffer)})
	if len(results) != 1 || results[0].Runs != 10 || results[0].Failed != 3 { // the runs 3, 5 and 10 fail
		t.Errorf("%+v", results)
	}
	results = hunt.Run(t.Context(), hunt.Config{Binaries: []hunt.Binary{binary}, Alone: 1e9, Duration: time.Second, Progress: new(bytes.Buffer)})
	if r := results[0]; r.Runs >= r.Wanted || r.Failed != 0 {
		t.Errorf("%+v", r)
	}
	if table := hunt.Table(results, true); !strings.Contains(table, "3 did not run as often as wanted") {
		t.Errorf("the table is\n%s", table)
	}
}
