package output_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// TestSafe checks that what a plugin says cannot control a terminal.
func TestSafe(t *testing.T) {
	t.Parallel()
	if got, want := output.Safe("a\tb\n\x1b[31mred\r\x00\u202eü"), "a\tb\n\ufffd[31mred\ufffd\ufffd\ufffdü"; got != want {
		t.Errorf("Safe = %q, want %q", got, want)
	}
}

// TestPipe checks what goes to a pipe: no color, JSON on one line, and an error that says
// that nobody reads.
func TestPipe(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := output.New(write, write)
	if p.Terminal() || p.Bad("x") != "x" || p.Good("x") != "x" || p.Bold("x") != "x" {
		t.Error("a pipe is taken for a terminal")
	}
	p.Note("what %s", "happened")
	if err := errors.Join(p.Text("\x1b text\n"), p.Object(map[string]string{"a": "<&>"}), write.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(read)
	if want := "plugwire: what happened\n\x1b text\n{\"a\":\"<&>\"}\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	err = p.Text("more")
	if !output.IsWrite(err) || !strings.HasPrefix(err.Error(), "standard output: ") {
		t.Errorf("a write to a closed file is %v", err)
	}
}
