//go:build unix

package docs_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const command = "docs/command.md"

// TestCommand runs the commands of the page.
func TestCommand(t *testing.T) {
	t.Parallel()
	watchSources(t)
	clone, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	s := shell{dir: t.TempDir(), env: append(environ(), "CGO_ENABLED=0", "LC_ALL=C")}
	bin := filepath.Join(s.dir, "bin")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator),
		"./cmd/plugwire", "./cmd/plugwire/internal/trial/trial-plugin", "./cmd/plugwire/internal/trial/trial-host", "./plugins/hello/cmd/hello-plugin", "./plugins/hello/cmd/hello-host")
	build.Dir, build.Env = clone, s.env
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.env = append(s.env, "XDG_RUNTIME_DIR="+startWordsHost(t, bin))
	ran := 0
	// dev, the last section, runs until Ctrl-C: the scripts of cmd/plugwire test it.
	page, _, _ := strings.Cut(read(t, command), "\n## dev\n")
	for _, step := range stepsOf(t, page) {
		if step.command == "" {
			continue
		}
		text := regexp.MustCompile(`\bplugwire (inspect|call|presets|doctor|bench|conform|top|logs)`).ReplaceAllString(step.command, "bin/plugwire $1")
		// The page shows failures too, whose exit codes the tests of the command check.
		got := s.run(t, "{ "+text+"; } || true")
		ran++
		if strings.Contains(step.command, " bench ") || strings.Contains(step.command, " top ") {
			got, step.want = table(got), table(step.want)
		}
		if measured(got) != measured(step.want) {
			t.Errorf("%s:%d: %s prints\n%s\nand not\n%s", command, step.line, step.command, got, step.want)
		}
	}
	if ran < 5 {
		t.Errorf("only %d commands were run", ran)
	}
}

// startWordsHost starts a host with the plugins words and numbers, until the test ends. The
// plugin words has died once. It returns the directory in which hosts are found.
func startWordsHost(t *testing.T, bin string) (runtime string) {
	t.Helper()
	runtime, err := os.MkdirTemp("", "r-") //nolint:usetesting // short, because the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	program := filepath.Join(bin, "words-host")
	if err := os.Rename(filepath.Join(bin, "trial-host"), program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-plugins", "words,numbers", "-load", "10ms", "-die", filepath.Join(bin, "trial-plugin"))
	cmd.Env = append(environ(), "XDG_RUNTIME_DIR="+runtime)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // its plugins end with it
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the host: %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("the host says %q, %v", line, err)
	}
	return runtime
}

var (
	number = regexp.MustCompile(`\d+(\.\d+)?`)
	// varies are the lines whose numbers are others each time.
	varies = regexp.MustCompile(`(?m)^(plugin|start|memory|built|with|ok +(program|time|stop)) .*$`)
)

// measured replaces what is measured, and the versions of what the plugin is built with.
func measured(output string) string {
	output = varies.ReplaceAllStringFunc(output, func(line string) string { return number.ReplaceAllString(line, "*") })
	output = regexp.MustCompile(`\*(µs|ms|s)`).ReplaceAllString(output, "*")
	output = regexp.MustCompile(`(?m)go[\d*][\d.*]*(,?)`).ReplaceAllString(output, "go*$1")
	output = regexp.MustCompile(`(?m)^\s*\n`).ReplaceAllString(output, "")
	return strings.TrimRight(regexp.MustCompile(`v\*\S*`).ReplaceAllString(output, "v*"), "\n")
}

// table replaces the numbers and units of a table, and what aligns them.
func table(output string) string {
	output = regexp.MustCompile(`\d+m\d+s`).ReplaceAllString(output, "*s") // on a slow machine
	output = regexp.MustCompile(`\d[\d.]*( (µs|ms|s))?`).ReplaceAllString(output, "*")
	output = regexp.MustCompile(`[ \t]+`).ReplaceAllString(output, " ")
	return regexp.MustCompile(`(?m) $`).ReplaceAllString(output, "")
}
