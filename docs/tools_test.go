//go:build unix

package docs_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const tools = "docs/tools.md"

// TestTools runs the commands of the page with the tools that it is about.
func TestTools(t *testing.T) {
	t.Parallel()
	if !installed("grpcurl") {
		const missing = "grpcurl is not installed: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	clone, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	s := shell{dir: t.TempDir(), env: append(environ(), "CGO_ENABLED=0", "LC_ALL=C")}
	s.run(t, "cd '"+clone+"' && go build -o '"+s.dir+"/bin/' ./plugins/hello/cmd/hello-plugin ./plugins/dataprocessor/cmd/dataprocessor-plugin")
	ran := 0
	var printed string // by the plugin that was started last
	for _, step := range stepsOf(t, read(t, tools)) {
		name, _, assigns := strings.Cut(step.command, "=")
		switch {
		case strings.Contains(step.command, " bin/"):
			printed = s.start(t, step.command)
		case assigns && (name == "SOCKET" || name == "ADDRESS" || name == "CERT"):
			s.env = append(s.env, name+"="+partOf(t, printed, name))
		case strings.HasPrefix(step.command, "grpc-health-probe") && !installed("grpc-health-probe"):
			t.Log("grpc-health-probe is not installed, and was not run")
		case strings.HasPrefix(step.command, "openssl") && !installed("openssl"):
			t.Log("openssl is not installed, and the rest was not run")
			return
		default:
			ran++
			got := s.run(t, step.command)
			if strings.HasPrefix(step.command, "openssl") {
				continue // it prints its progress
			}
			if processValues(got) != processValues(step.want) {
				t.Fatalf("%s:%d: %s prints\n%s\nand not\n%s", tools, step.line, step.command, got, step.want)
			}
		}
	}
	if ran < 8 {
		t.Errorf("only %d commands were run", ran)
	}
}

func installed(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}

// start runs a plugin until the test ends, and returns the first line that it prints.
func (s *shell) start(t *testing.T, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", regexp.MustCompile(` (bin/\S+)$`).ReplaceAllString(command, " exec $1"))
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && err != os.ErrProcessDone { //nolint:errorlint // it is not wrapped
			t.Error(err)
		}
		_ = cmd.Wait() // the page has stopped it, or the signal has
	})
	if readErr != nil {
		t.Fatalf("%s printed %q: %v", command, line, readErr)
	}
	return strings.TrimSpace(line)
}

// partOf returns what a reader copies from the line that a plugin has printed.
func partOf(t *testing.T, line, name string) string {
	t.Helper()
	if name == "SOCKET" {
		m := regexp.MustCompile(`"String":"([^"]+)"`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("there is no socket in %q", line)
		}
		return m[1]
	}
	fields := strings.Split(line, "|")
	if len(fields) < 6 {
		t.Fatalf("%q is not an answer", line)
	}
	if name == "ADDRESS" {
		return fields[3]
	}
	return fields[5]
}

// processValues replaces what is another value in each process.
func processValues(output string) string {
	return strings.TrimRight(regexp.MustCompile(`"(pid|uptimeMilliseconds)": "\d+"`).ReplaceAllString(output, `"$1": *`), "\n")
}
