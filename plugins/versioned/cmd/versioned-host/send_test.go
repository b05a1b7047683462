package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// upper is a client with a limit of texts in a call.
type upper struct {
	room  int
	calls []string // the texts of each, joined
	err   error
}

func (u *upper) take(texts []string) int { return min(len(texts), u.room) }

func (u *upper) process(_ context.Context, texts []string) ([]outcome, error) {
	u.calls = append(u.calls, strings.Join(texts, "+"))
	var outcomes []outcome
	for _, text := range texts {
		if strings.HasPrefix(text, "bad") {
			outcomes = append(outcomes, outcome{err: errors.New("refused")})
			continue
		}
		outcomes = append(outcomes, outcome{text: strings.ToUpper(text)})
	}
	return outcomes, u.err
}

// printed returns the output of a process command, as "FILE=TEXT" or
// "FILE:ERROR".
func printed(t *testing.T, c client, files ...string) ([]string, error) {
	t.Helper()
	var lines []string
	err := send(t.Context(), c, files, func(file string, o outcome) error {
		if o.err != nil {
			lines = append(lines, file+": "+o.err.Error())
		} else {
			lines = append(lines, file+"="+o.text)
		}
		return nil
	})
	return lines, err
}

func inDirectory(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.WriteFile(filepath.FromSlash(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// setStdin replaces standard input by a pipe, and returns its writing end.
func setStdin(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = r
	t.Cleanup(func() {
		os.Stdin = before
		_ = w.Close() // ends a read that is under way
		_ = r.Close()
	})
	return w
}

func TestSend(t *testing.T) {
	inDirectory(t, map[string]string{
		"a": "text a", "b": "bad b", "c": "text c", "d": "bad d", "e": "text e",
		"binary": "\xff", "long": strings.Repeat("l", maxText+1), "longest": strings.Repeat("l", maxText),
	})
	for _, tt := range []struct {
		name  string
		room  int
		files string
		calls []string
		want  []string
		err   string
	}{
		{"one call for each", 1, "a c e", []string{"text a", "text c", "text e"}, []string{"a=TEXT A", "c=TEXT C", "e=TEXT E"}, ""},
		{"as many as there is room for", 2, "a c e", []string{"text a+text c", "text e"}, []string{"a=TEXT A", "c=TEXT C", "e=TEXT E"}, ""},
		{"all in one call", 9, "a c e", []string{"text a+text c+text e"}, []string{"a=TEXT A", "c=TEXT C", "e=TEXT E"}, ""},
		{"standard input", 9, "a -", []string{"text a+standard input"}, []string{"a=TEXT A", "-=STANDARD INPUT"}, ""},
		{
			"failures in their place", 2, "a b c d",
			[]string{"text a+bad b", "text c+bad d"},
			[]string{"a=TEXT A", "b: refused", "c=TEXT C", "d: refused"},
			"2 of 4 files failed",
		},
		{
			"files that cannot be sent, in their place", 9, "a binary c long e",
			[]string{"text a", "text c", "text e"},
			[]string{"a=TEXT A", "binary: is not UTF-8", "c=TEXT C", "long: is longer than 65536 bytes", "e=TEXT E"},
			"2 of 5 files failed",
		},
		{"the longest", 9, "longest", []string{strings.Repeat("l", maxText)}, []string{"longest=" + strings.Repeat("L", maxText)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdin := setStdin(t)
			if _, err := stdin.WriteString("standard input"); err != nil {
				t.Fatal(err)
			}
			if err := stdin.Close(); err != nil {
				t.Fatal(err)
			}
			c := &upper{room: tt.room}
			got, err := printed(t, c, strings.Fields(tt.files)...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.calls, c.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err {
				t.Errorf("error %q, want %q", text, tt.err)
			}
		})
	}
}

func TestSendEnds(t *testing.T) {
	inDirectory(t, map[string]string{"a": "a", "b": "b"})
	gone := errors.New("gone")
	t.Run("when a call fails", func(t *testing.T) {
		c := &upper{room: 1, err: gone}
		if got, err := printed(t, c, "a", "b"); !errors.Is(err, gone) || got != nil || len(c.calls) != 1 {
			t.Errorf("printed %q, %v, after %d calls", got, err, len(c.calls))
		}
	})
	t.Run("when nothing can be printed", func(t *testing.T) {
		c := &upper{room: 1}
		err := send(t.Context(), c, []string{"a", "b"}, func(string, outcome) error { return gone })
		if !errors.Is(err, gone) || len(c.calls) != 1 {
			t.Errorf("%v after %d calls", err, len(c.calls))
		}
	})
	t.Run("when canceled while it reads", func(t *testing.T) {
		setStdin(t) // a pipe without a writer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- send(ctx, &upper{room: 9}, []string{"a", "-"}, nil) }()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want Canceled", err)
		}
	})
}
