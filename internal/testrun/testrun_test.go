package testrun_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/internal/testrun"
)

// module is a module whose tests end in every possible way.
var module = map[string]string{
	"go.mod": "module example.com/m\n\ngo 1.26.0\n",

	"good/good_test.go": `package good

import "testing"

func TestGood(t *testing.T) { t.Log("not shown") }
func TestNoCompiler(t *testing.T) { t.Skip("there is no compiler") }
`,
	"bad/bad_test.go": `package bad

import "testing"

func TestBad(t *testing.T) {
	t.Run("with blanks", func(t *testing.T) { t.Errorf("got 1\nwant 2") })
	t.Run("good", func(*testing.T) {})
}
func TestQuiet(t *testing.T) { t.Fail() }
`,
	"hangs/hangs_test.go": `package hangs

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.timeout", "1s"); err != nil { // the other packages may be slow
		panic(err)
	}
	os.Exit(m.Run())
}
func TestHangs(t *testing.T) {
	for range 50 {
		go func() { select {} }()
	}
	select {}
}
`,
	"panics/panics_test.go": `package panics

import "testing"

func TestPanics(t *testing.T) { panic("this is why\nand more") }
`,
	"exits/exits_test.go": `package exits

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	m.Run()
	fmt.Println("the directory is not empty")
	os.Exit(1)
}
func TestNothing(*testing.T) {}
`,
	"told/told_test.go": `package told

import "testing"

// As package testscript reports a script.
func TestScript(t *testing.T) {
	t.Log("\nWORK=$WORK\nPATH=/bin\n\n> exec false\n[exit status 1]\nFAIL: testdata/script/new.txtar:12: unexpected command failure")
	t.FailNow()
}
func TestSeed(t *testing.T) {
	t.Log("PLUGWIRE_SOAK_SEED=7")
	t.Log("seed 7")
	t.Error("a line is lost")
}
func TestSeedOfSubtests(t *testing.T) {
	t.Log("PLUGWIRE_SOAK_SEED=7")
	t.Run("sub", func(t *testing.T) { t.Error("two lines are lost") })
}
func TestSeedOnly(t *testing.T) {
	t.Log("PLUGWIRE_SOAK_SEED=7")
	t.Fail()
}
func TestRaceOfAPlugin(t *testing.T) { t.Error("stderr of the plugin:\nWARNING: DATA RACE\nWrite at 0x1") }
`,
	"broken/broken.go":      "package broken\n\nvar x int = \"\"\n",
	"broken/broken_test.go": "package broken\n\nimport \"testing\"\n\nfunc Test(*testing.T) {}\n",
	"untested/untested.go":  "package untested\n",
}

// run runs go test on the given packages of the module, and returns the output
// of the report and its error.
func run(t *testing.T, c testrun.Config, patterns ...string) (string, error) {
	t.Helper()
	dir := write(t, module)
	t.Setenv("TMPDIR", t.TempDir()) // directory for the dumps
	var out bytes.Buffer
	c.Output, c.Prefix = &out, "example.com/"
	report := testrun.New(c)
	ran := report.Run(goTest(t, dir, patterns...))
	err := report.Close()
	if (ran == nil) != (err == nil) {
		t.Errorf("go test: %v; Close: %v", ran, err)
	}
	return out.String(), err
}

// write writes the files of a module and returns their directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// goTest returns go test with arguments, to be run in dir.
func goTest(t *testing.T, dir string, args ...string) testrun.Command {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-json", "-vet=off", "-timeout=1m"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOTRACEBACK=all")
	return testrun.Command{Cmd: cmd, Again: func(pkg, pattern string) string {
		return "go test -run '" + pattern + "' " + pkg
	}}
}

// matches checks that lines of the output match the patterns, in their order.
func matches(t *testing.T, out string, patterns ...string) {
	t.Helper()
	rest := out
	for _, pattern := range patterns {
		at := regexp.MustCompile("(?m)^" + pattern + "$").FindStringIndex(rest)
		if at == nil {
			t.Fatalf("no line matches %q, or not in this order:\n%s", pattern, out)
		}
		rest = rest[at[1]:]
	}
}

func TestPassing(t *testing.T) {
	out, err := run(t, testrun.Config{}, "./good", "./untested")
	if err != nil {
		t.Error(err)
	}
	matches(t, out, `ok  \texample.com/m/good\t[\d.]+s`, `left out: m/good TestNoCompiler: there is no compiler`)
	for _, unwanted := range []string{"not shown", "untested", "PACKAGE", "\x1b"} {
		if strings.Contains(out, unwanted) {
			t.Errorf("the output has %q:\n%s", unwanted, out)
		}
	}
}

// Each way to fail is a row of the table, which follows the output of the
// tests.
func TestFailing(t *testing.T) {
	out, err := run(t, testrun.Config{}, "./...")
	if err == nil || err.Error() != "11 failures in 6 packages" {
		t.Error(err)
	}
	matches(
		t, out,
		`==== m/bad TestBad/with_blanks`,
		`    bad_test.go:6: got 1`,
		`        want 2`,
		`PACKAGE +TEST +FAILURE`,
		`m/bad +TestBad/with_blanks +got 1`,
		`    go test -run '\^TestBad\$/\^with_blanks\$' example.com/m/bad`,
		`m/bad +TestQuiet +\(nothing was printed\)`,
		`m/broken +\(package\) +.*broken.go:3:13: cannot use .*`,
		`    go test -run '' example.com/m/broken`,
		`m/exits +\(package\) +the directory is not empty`,
		`m/hangs +TestHangs +test timed out after 1s`,
		`    go test -run '\^TestHangs\$' example.com/m/hangs`,
		`    goroutines: .*m-hangs-TestHangs.txt`,
		`m/panics +TestPanics +this is why.*`,
		`m/told +TestScript +new.txtar:12: unexpected command failure`,
		`m/told +TestSeed +a line is lost`,
		`m/told +TestSeedOfSubtests/sub +two lines are lost`,
		`m/told +TestSeedOnly +PLUGWIRE_SOAK_SEED=7`,
		`m/told +TestRaceOfAPlugin +WARNING: DATA RACE`,
	)
	for _, unwanted := range []string{"=== RUN", "not shown", "[no test files]", "select (no cases)"} {
		if strings.Contains(out, unwanted) {
			t.Errorf("the output has %q:\n%s", unwanted, out)
		}
	}
	path := regexp.MustCompile(`goroutines: (.*)`).FindStringSubmatch(out)[1]
	if dump, err := os.ReadFile(path); err != nil || !strings.Contains(string(dump), "select (no cases)") {
		t.Errorf("the dump: %v\n%s", err, dump)
	}
}

func TestVerbose(t *testing.T) {
	out, err := run(t, testrun.Config{Verbose: true}, "./good")
	if err != nil {
		t.Error(err)
	}
	matches(t, out, `=== RUN   TestGood`, `    good_test.go:5: not shown`, `ok  \texample.com/m/good\t[\d.]+s`)
}

// At a terminal the last line names the running packages. At the end the line
// is removed.
func TestTerminal(t *testing.T) {
	const width = 50
	out, err := run(t, testrun.Config{Width: width}, "./good", "./bad")
	if err == nil {
		t.Error("bad tests passed")
	}
	if !strings.Contains(out, "0 packages, 0 tests passed") {
		t.Errorf("no progress: %q", out)
	}
	for line := range strings.FieldsFuncSeq(out, func(c rune) bool { return c == '\r' || c == '\n' }) {
		if status, ok := strings.CutPrefix(line, "\x1b[K"); ok && strings.Contains(status, "tests passed") && len(status) >= width {
			t.Errorf("the status has %d columns: %q", len(status), status)
		}
	}
}

// meeting is a module whose package patient passes only if package quick is tested
// while it runs.
var meeting = map[string]string{
	"go.mod": "module example.com/m\n\ngo 1.26.0\n",
	"patient/patient_test.go": `package patient

import (
	"os"
	"testing"
	"time"
)

func TestPatient(t *testing.T) {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if _, err := os.Stat("../met"); err == nil {
			return
		}
		<-poll.C
	}
}
`,
	"quick/quick_test.go": `package quick

import (
	"os"
	"testing"
)

func TestQuick(t *testing.T) {
	if err := os.WriteFile("../met", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Error("this is second")
}
`,
}

// Commands run side by side, and the packages of the first are printed first.
func TestSideBySide(t *testing.T) {
	dir := write(t, meeting)
	var out bytes.Buffer
	report := testrun.New(testrun.Config{Output: &out, Prefix: "example.com/"})
	ran := report.Run(goTest(t, dir, "./patient"), goTest(t, dir, "./quick"))
	if err := report.Close(); ran == nil || err == nil || err.Error() != "1 failure in 1 package" {
		t.Errorf("go test: %v; Close: %v", ran, err)
	}
	matches(t, out.String(), `ok  \texample.com/m/patient\t[\d.]+s`, `FAIL\texample.com/m/quick\t[\d.]+s`, `m/quick +TestQuick +this is second`)
}
