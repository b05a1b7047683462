package main

import (
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
	"github.com/plugwire/plugwire/plugins/streaming/chat"
)

// chatting starts a host for the user alice.
func chatting(t *testing.T) *clitest.Host {
	t.Helper()
	return clitest.Start(t, "streaming-host", "-root", t.TempDir(), "chat", "-user", "alice")
}

// say posts a line and waits for the reply.
func say(t *testing.T, h *clitest.Host, text, reply string) {
	t.Helper()
	h.Write(t, text+"\n")
	for _, want := range []messageObject{{User: "alice", Text: text}, {User: "assistant", Text: reply}} {
		var m messageObject
		h.Next(t, &m)
		if m.User != want.User || m.Text != want.Text {
			t.Errorf("%s: %q, want %s: %q", m.User, m.Text, want.User, want.Text)
		}
	}
}

// Messages appear at once, and not only at the end.
func TestConversation(t *testing.T) {
	h := chatting(t)
	say(t, h, "hello", "1 word, 5 characters")
	say(t, h, "/who", "alice")
	if err := h.Stdin.Close(); err != nil {
		t.Fatal(err)
	}
	h.WantSuccess(t)
}

func TestPluginDiesInAConversation(t *testing.T) {
	h := chatting(t)
	say(t, h, "hello", "1 word, 5 characters")
	h.KillPlugin(t)
}

func TestConversationEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, h *clitest.Host)
		want hostcli.Failure
	}{
		{"with a signal", func(t *testing.T, h *clitest.Host) {
			t.Helper()
			if runtime.GOOS == "windows" {
				t.Skip("Windows has no signals to send to a process")
			}
			h.Signal(t, syscall.SIGTERM)
		}, hostcli.Failure{Message: "terminated signal received"}},
		{"with a line that is too long", func(t *testing.T, h *clitest.Host) {
			t.Helper()
			h.Write(t, strings.Repeat("x", chat.MaxText+1)+"\n")
		}, hostcli.Failure{Message: "the line is longer than 4096 bytes", Line: 2}},
		{"with a line that is no text", func(t *testing.T, h *clitest.Host) {
			t.Helper()
			h.Write(t, "\xff\n")
		}, hostcli.Failure{Message: "the line is not UTF-8", Line: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := chatting(t)
			say(t, h, strings.Repeat("x", chat.MaxText), "1 word, 4096 characters")
			tt.end(t, h)
			tt.want.Type = "error"
			if diff := cmp.Diff(tt.want, h.WantFailure(t)); diff != "" {
				t.Errorf("last object (-want +got):\n%s", diff)
			}
		})
	}
}

// A line that cannot be sent ends the conversation, but only after the replies
// to the lines before it.
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

// A text from the plugin cannot control the terminal, and cannot look like
// another user's message.
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

// More lines than the room accepts at once all come back, and do not disconnect the
// participant.
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
