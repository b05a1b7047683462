//go:build unix

package docs_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const gettingStarted = "docs/getting-started.md"

// A step is one thing that the page tells its reader to do: a command, an edit of
// a file, or a file to write.
type step struct {
	line          int    // line of the page
	command, want string // a command, and the output that the page shows
	edit, write   string // the name of a file to change or to write
	text          string // the changes, or the content
}

// TestGettingStarted does all that the page says, in an empty directory.
func TestGettingStarted(t *testing.T) {
	watchSources(t)
	clone, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	// While nothing is released the modules come from this clone.
	instead := map[string]string{
		"go install github.com/plugwire/plugwire/codegen/cmd/plugwire-gen@latest": "cd '" + clone + "' && go build -o '" + bin + "' ./codegen/cmd/plugwire-gen",
		"plugwire-gen new hello": "plugwire-gen new -clone '" + clone + "' hello",
	}
	s := shell{dir: t.TempDir(), env: append(environ(),
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "CGO_ENABLED=0", "LC_ALL=C",
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	)}
	steps := stepsOf(t, read(t, gettingStarted))
	if len(steps) == 0 {
		t.Fatal("the page has no steps")
	}
	for _, step := range steps {
		switch {
		case step.edit != "":
			s.edit(t, step)
		case step.write != "":
			s.write(t, step)
		case strings.HasPrefix(step.command, "cd "):
			s.dir = filepath.Join(s.dir, strings.TrimPrefix(step.command, "cd "))
		default:
			command := step.command
			if other, ok := instead[command]; ok {
				command = other
			}
			if got := s.run(t, command); stable(got) != stable(step.want) {
				t.Fatalf("%s:%d: %s prints\n%s\nand not\n%s", gettingStarted, step.line, step.command, got, step.want)
			}
		}
	}
}

// environ returns the variables of this process, except those that change what a
// command prints, and those by which a hook of git makes git work on this repository.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == "GOFLAGS" || name == "GOWORK" || strings.HasPrefix(name, "GIT_") ||
			strings.HasPrefix(name, "PLUGIN_") || strings.HasPrefix(name, "PLUGWIRE_")
	})
}

// watchSources looks at the files of the modules that most tests use, and of more modules.
// The go command then runs the test again when one of them has changed.
func watchSources(t *testing.T, more ...string) {
	t.Helper()
	for _, module := range append([]string{"codegen", "core", "transport/tcp", "transport/unix"}, more...) {
		err := filepath.WalkDir(filepath.Join(root, module), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			_, err = os.Stat(path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// stepsOf returns the steps of a page, in order.
func stepsOf(t *testing.T, page string) []step {
	t.Helper()
	var steps []step
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		if command, ok := strings.CutPrefix(lines[i], "    $ "); ok {
			steps = append(steps, step{line: i + 1, command: command})
			continue
		}
		if output, ok := strings.CutPrefix(lines[i], "    "); ok && len(steps) > 0 && steps[len(steps)-1].command != "" {
			steps[len(steps)-1].want += output + "\n"
			continue
		}
		mark, isMark := strings.CutPrefix(lines[i], "<!-- ")
		kind, name, _ := strings.Cut(strings.TrimSuffix(mark, " -->"), ": ")
		if !isMark || kind != "edit" && kind != "write" {
			continue
		}
		s := step{line: i + 1}
		if kind == "edit" {
			s.edit = name
		} else {
			s.write = name
		}
		for i += 2; i < len(lines) && lines[i] != "```"; i++ {
			s.text += lines[i] + "\n"
		}
		steps = append(steps, s)
	}
	return steps
}

// shell is the directory and the environment of the reader.
type shell struct {
	dir string
	env []string
}

// run returns what a command prints. A command that fails prints its error.
func (s *shell) run(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &out, &out
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	if _, failed := err.(*exec.ExitError); err != nil && (!failed || ctx.Err() != nil) { //nolint:errorlint // it is Run's own
		t.Fatalf("%s: %v\n%s", command, err, &out)
	}
	return out.String()
}

// edit makes the changes of a step. A line @@ separates them. What a change replaces must
// be in the file once.
func (s *shell) edit(t *testing.T, step step) {
	t.Helper()
	name := filepath.Join(s.dir, step.edit)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file := string(data)
	for change := range strings.SplitSeq(step.text, "@@\n") {
		var before, after strings.Builder
		for line := range strings.Lines(change) {
			if line[0] != '+' {
				before.WriteString(line[1:])
			}
			if line[0] != '-' {
				after.WriteString(line[1:])
			}
		}
		if n := strings.Count(file, before.String()); n != 1 {
			t.Fatalf("%s:%d: this is %d times in %s:\n%s", gettingStarted, step.line, n, step.edit, &before)
		}
		file = strings.Replace(file, before.String(), after.String(), 1)
	}
	if err := os.WriteFile(name, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *shell) write(t *testing.T, step step) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, step.write), []byte(step.text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// unstable matches times and names of commits.
var unstable = regexp.MustCompile(`\b\d+\.\d+s\b|\(cached\)|\b[0-9a-f]{12}\b`)

func stable(output string) string {
	return strings.TrimRight(unstable.ReplaceAllString(output, "*"), "\n")
}
