package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/plugins/streaming/files"
)

// A conversation is a host that chats with the test.
type conversation struct {
	root   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	stderr bytes.Buffer
	plugin int // its process
}

// chatting starts a host whose user is alice.
func chatting(t *testing.T) *conversation {
	t.Helper()
	c := &conversation{root: t.TempDir()}
	c.cmd = exec.CommandContext(t.Context(), clitest.Path("streaming-host"), "-json", "-root", c.root, "chat", "-user", "alice")
	c.cmd.Stderr = &c.stderr
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.stdout = bufio.NewScanner(stdout)
	var connection hostcli.Connection
	c.next(t, &connection)
	c.plugin = connection.PID
	return c
}

func (c *conversation) next(t *testing.T, object any) {
	t.Helper()
	if !c.stdout.Scan() {
		t.Fatalf("stdout ended: %v; stderr: %s", c.stdout.Err(), c.stderr.String())
	}
	if err := json.Unmarshal(c.stdout.Bytes(), object); err != nil {
		t.Fatal(err)
	}
}

// say posts a line and waits for the reply.
func (c *conversation) say(t *testing.T, text, reply string) {
	t.Helper()
	if _, err := io.WriteString(c.stdin, text+"\n"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []posted{{User: "alice", Text: text}, {User: "assistant", Text: reply}} {
		var m posted
		c.next(t, &m)
		if m.User != want.User || m.Text != want.Text {
			t.Errorf("%s: %q, want %s: %q", m.User, m.Text, want.User, want.Text)
		}
	}
}

// wantFailure checks that the host ends with an error, and leaves nothing.
func (c *conversation) wantFailure(t *testing.T, want hostcli.Failure) {
	t.Helper()
	var f hostcli.Failure
	c.next(t, &f)
	want.Type = "error"
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("last object (-want +got):\n%s", diff)
	}
	err := c.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1", err)
	}
	if err := clitest.Exited(c.plugin); err != nil {
		t.Error(err)
	}
}

// What is said is there at once, and not only at the end.
func TestConversation(t *testing.T) {
	c := chatting(t)
	c.say(t, "hello", "1 word, 5 characters")
	c.say(t, "/who", "alice")
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if c.stdout.Scan() {
		t.Errorf("%s follows", c.stdout.Text())
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, c.stderr.String())
	}
	if err := clitest.Exited(c.plugin); err != nil {
		t.Error(err)
	}
}

func TestSignalEndsAConversation(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send to a process")
	}
	c := chatting(t)
	c.say(t, "hello", "1 word, 5 characters")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.wantFailure(t, hostcli.Failure{Message: "terminated signal received"})
}

func TestPluginDiesInAConversation(t *testing.T) {
	c := chatting(t)
	c.say(t, "hello", "1 word, 5 characters")
	p, err := os.FindProcess(c.plugin)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	how := "signal: killed"
	if runtime.GOOS == "windows" {
		how = "exit code 1"
	}
	c.wantFailure(t, hostcli.Failure{Message: fmt.Sprintf("plugin %s -root %s -max-size %d (process %d) ended (%s)",
		clitest.Path("streaming-plugin"), c.root, files.DefaultMaxSize, c.plugin, how)})
}

func TestLineTooLong(t *testing.T) {
	c := chatting(t)
	c.say(t, strings.Repeat("x", 4096), "1 word, 4096 characters")
	if _, err := io.WriteString(c.stdin, strings.Repeat("x", 4099)+"\n"); err != nil {
		t.Fatal(err)
	}
	c.wantFailure(t, hostcli.Failure{Message: "the line is longer than 4096 bytes", Line: 2})
}

func TestLineThatIsNotText(t *testing.T) {
	c := chatting(t)
	c.say(t, "hello", "1 word, 5 characters")
	if _, err := io.WriteString(c.stdin, "\xff\n"); err != nil {
		t.Fatal(err)
	}
	c.wantFailure(t, hostcli.Failure{Message: "the line is not UTF-8", Line: 2})
}

// A line that cannot be sent ends the conversation, and not before what came
// before it is answered.
func TestLastReplyBeforeAnError(t *testing.T) {
	for _, wrong := range []string{"\xff\n", strings.Repeat("x", 4099), "\x1b\n"} {
		cmd := exec.CommandContext(t.Context(), clitest.Path("streaming-host"), "-root", t.TempDir(), "chat", "-user", "alice")
		cmd.Stdin = strings.NewReader("one\ntwo\n" + wrong)
		output, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			t.Errorf("%v, want exit code 1", err)
		}
		want := "alice: one\nassistant: 1 word, 3 characters\nalice: two\nassistant: 1 word, 3 characters\n"
		if diff := cmp.Diff(want, string(output)); diff != "" {
			t.Errorf("%.10q (-want +got):\n%s", wrong, diff)
		}
	}
}

// What a plugin lets through does nothing to the terminal, and cannot pass for a
// message of another.
func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"hi\nassistant: send all": "hi\n  assistant: send all",
		"a\n\x1b[A\r\n":           "a\n  \\x1b[A\\r\n  ",
	} {
		if got := shown(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// More lines than the room takes at once all come back, and are no reason to be put
// out.
func TestManyLines(t *testing.T) {
	const lines = 600
	cmd := exec.CommandContext(t.Context(), clitest.Path("streaming-host"), "-root", t.TempDir(), "chat", "-user", "alice")
	cmd.Stdin = strings.NewReader(strings.Repeat("x\n", lines))
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("alice: x\nassistant: 1 word, 1 character\n", lines); string(output) != want {
		t.Errorf("%d bytes came back, want %d", len(output), len(want))
	}
}
