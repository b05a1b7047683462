//go:build unix

package docs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const otherLanguages = "docs/other-languages.md"

// otherPackages are where .ci/run installs the packages that new plugins need, and the
// name of that directory in a plugin.
var otherPackages = map[string][2]string{
	"python": {"interop/pyvider/.venv", ".venv"},
	"node":   {"interop/grpcjs/node_modules", "node_modules"},
}

// TestOtherLanguages runs the commands of the page, and lets conform check a plugin for
// Node.js too. Conform takes some seconds, because one of its rules waits until the
// plugin gives up a connection that says nothing.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	for _, packages := range otherPackages {
		if !exists(packages[0]) {
			missing := packages[0] + " does not exist: interop/README.md says how to install it"
			if os.Getenv("CI") == "true" {
				t.Fatal(missing)
			}
			t.Skip(missing)
		}
	}
	clone, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	watchSources(t, "cmd/plugwire")
	bin := t.TempDir()
	env := append(environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "CGO_ENABLED=0", "LC_ALL=C")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator), "./cmd/plugwire", "./codegen/cmd/plugwire-gen")
	build.Dir, build.Env = clone, env
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("rules", func(t *testing.T) {
		t.Parallel()
		s := shell{dir: t.TempDir(), env: env}
		checkRules(t, s.run(t, "plugwire conform plugin -list -json"))
	})
	steps := stepsOf(t, strings.Join(unfenced(read(t, otherLanguages)), "\n"))
	var reports []step // those of conform
	for _, step := range steps {
		if strings.Contains(step.command, " conform ") {
			reports = append(reports, step)
		}
	}
	if len(reports) != 2 {
		t.Fatalf("%s: %d reports of conform, want one without TLS and one with it", otherLanguages, len(reports))
	}
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		s := shell{dir: t.TempDir(), env: env}
		for _, step := range steps {
			switch {
			case strings.HasPrefix(step.command, "cd "):
				s.dir = filepath.Join(s.dir, strings.TrimPrefix(step.command, "cd "))
			case strings.Contains(step.command, " -m venv "):
				s.install(t, "python")
			default:
				if got := s.run(t, step.command); !shows(step.want, got) {
					t.Errorf("%s:%d: %s prints\n%s\nand not\n%s", otherLanguages, step.line, step.command, got, step.want)
				}
			}
		}
	})
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		s := shell{dir: t.TempDir(), env: env}
		s.run(t, "plugwire-gen new -lang node hello")
		s.dir = filepath.Join(s.dir, "hello")
		s.install(t, "node")
		for _, report := range reports {
			command := strings.Replace(report.command, ".venv/bin/python plugin.py", "node plugin.js", 1)
			if got := s.run(t, command); !shows(report.want, got) {
				t.Errorf("%s prints\n%s\nand not\n%s", command, got, report.want)
			}
		}
	})
}

// install links the packages of a language into the directory.
func (s *shell) install(t *testing.T, lang string) {
	t.Helper()
	packages, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(otherPackages[lang][0])))
	if err == nil {
		err = os.Symlink(packages, filepath.Join(s.dir, otherPackages[lang][1]))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shows reports whether a page shows the output of a command. A line of three dots
// stands for any lines. The numbers of rules that pass or do not apply are not compared.
func shows(page, output string) bool {
	page, output = counted.ReplaceAllString(page, "*$1"), counted.ReplaceAllString(output, "*$1")
	parts := strings.Split(strings.TrimRight(page, "\n"), "...\n")
	output = strings.TrimRight(output, "\n")
	rest, ok := strings.CutPrefix(output, parts[0])
	for _, part := range parts[1:] {
		var found bool
		_, rest, found = strings.Cut(rest, part)
		ok = ok && found
	}
	return ok && rest == ""
}

var counted = regexp.MustCompile(`\d+( passed| not applicable)`)

func TestShows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		page, output string
		want         bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"", "", true},
		{"a\n...\nd: 1 passed\n", "a\nb\nc\nd: 2 passed\n", true},
		{"a\n...\nd\n", "a\nd\n", true},
		{"a\n", "a\nb\n", false},
		{"a\n...\nb\n", "a\nb\nc\n", false},
		{"a\n...\nd\n", "a\nb\n", false},
		{"b\n", "a\nb\n", false},
	} {
		if got := shows(tt.page, tt.output); got != tt.want {
			t.Errorf("shows(%q, %q) = %v", tt.page, tt.output, got)
		}
	}
}

// rule matches the identifier of a rule of conform in a code span.
var rule = regexp.MustCompile("`((?:protocol|wire)-[0-9]+/[a-z-]+)`")

// checkRules compares the rules that the page names with those of conform. The table of
// the steps has rules of profile minimal, each of them once.
func checkRules(t *testing.T, list string) {
	t.Helper()
	all := make(map[string]bool) // whether the rule is in profile minimal
	for decoder := json.NewDecoder(bytes.NewBufferString(list)); decoder.More(); {
		var entry struct {
			Rule     string
			Profiles []string
		}
		if err := decoder.Decode(&entry); err != nil {
			t.Fatalf("%v\n%s", err, list)
		}
		all[entry.Rule] = slices.Contains(entry.Profiles, "minimal")
	}
	if len(all) == 0 {
		t.Fatal("conform has no rules")
	}
	inTable := make(map[string]int)
	for line := range strings.Lines(read(t, otherLanguages)) {
		for _, match := range rule.FindAllStringSubmatch(line, -1) {
			if _, ok := all[match[1]]; !ok {
				t.Errorf("%s: conform has no rule %s", otherLanguages, match[1])
			}
			if strings.HasPrefix(line, "| [") {
				inTable[match[1]]++
			}
		}
	}
	if len(inTable) < 10 {
		t.Errorf("%s: the table has only %d rules", otherLanguages, len(inTable))
	}
	for name, times := range inTable {
		if times != 1 || !all[name] {
			t.Errorf("%s: rule %s is %d times in the table (in profile minimal: %v)", otherLanguages, name, times, all[name])
		}
	}
}
