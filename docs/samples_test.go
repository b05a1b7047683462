//go:build unix

package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// samplePages are the samples whose READMEs show what host and plugin print.
var samplePages = []string{"dataprocessor", "multiservice", "versioned", "streaming"}

// TestSamples runs the commands at the beginning of the samples' READMEs, and those of the section By hand.
func TestSamples(t *testing.T) {
	t.Parallel()
	watchSources(t, "cmd/plugwire", "plugins")
	clone, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	s := shell{dir: t.TempDir(), env: append(environ(), "CGO_ENABLED=0", "LC_ALL=C")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(s.dir, "bin")+string(filepath.Separator), "./cmd/plugwire")
	for _, name := range samplePages {
		build.Args = append(build.Args, "./plugins/"+name+"/cmd/...")
	}
	build.Dir, build.Env = clone, s.env
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "README.md"), []byte(read(t, "README.md")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range samplePages {
		ran := 0
		page := "plugins/" + name + "/README.md"
		begin, rest, _ := strings.Cut(read(t, page), "\n| directory ")
		_, byHand, _ := strings.Cut(rest, "\n## By hand\n")
		for _, step := range stepsOf(t, begin+"\n"+byHand) {
			command := strings.ReplaceAll(step.command, "go run ./plugins/"+name+"/cmd/", "bin/")
			if strings.HasPrefix(command, "go ") {
				continue // the test has built the commands, and other tests run the generator
			}
			// A README shows failures too.
			got := s.run(t, "{ "+command+"\n} || true")
			ran++
			if withoutNumbers(got) != withoutNumbers(step.want) {
				t.Errorf("%s: %s prints\n%s\nand not\n%s", page, step.command, got, step.want)
			}
		}
		if ran < 2 {
			t.Errorf("%s: only %d commands were run", page, ran)
		}
	}
}

// withoutNumbers replaces what differs from run to run: numbers with their units, and the
// spaces that align them. A page lacks empty lines.
func withoutNumbers(output string) string {
	output = regexp.MustCompile(`\d[\d.:]*(µs|ms|s|[TZ])*`).ReplaceAllString(output, "*")
	output = regexp.MustCompile(`[ \t]+`).ReplaceAllString(output, " ")
	return strings.TrimRight(regexp.MustCompile(`\n\s*\n`).ReplaceAllString(output, "\n"), "\n")
}
