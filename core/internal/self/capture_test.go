//go:build unix

package self_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/self"
)

// roleCapture is the environment variable by which this test binary is a program
// that captures what it prints.
const roleCapture = "SELF_TEST_CAPTURE"

// captureProgram prints in every way that there is. At the end it prints what was captured
// to the original standard output.
func captureProgram() error {
	var mu sync.Mutex // guards what follows
	var stdout, stderr bytes.Buffer
	into := func(b *bytes.Buffer) func([]byte) {
		return func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			b.Write(p)
		}
	}
	c, err := self.NewCapture(into(&stdout), into(&stderr))
	if err != nil {
		return err
	}
	late := os.Stderr
	fmt.Println("printed")
	fmt.Fprintln(os.Stderr, "complained")
	child := exec.Command("sh", "-c", "echo child; echo unheard >&2")
	child.Stdout, child.Stderr = os.Stdout, c.Stderr
	if err := child.Run(); err != nil {
		return err
	}
	if _, err := unix.Write(1, []byte("raw\n")); err != nil {
		return err
	}
	if _, err := unix.Write(2, []byte("panic: raw\n")); err != nil {
		return err
	}
	large := strings.Repeat("x", 1<<20) // more than a pipe holds
	fmt.Print(large)
	if err := c.Flush(); err != nil {
		return err
	}
	if _, err := late.WriteString("late\n"); err != nil {
		return err
	}
	if err := captureEndless(); err != nil {
		return err
	}
	short := strings.Replace(stdout.String(), large, "LARGE", 1)
	fmt.Printf("captured %q and %q\n", short, stderr.String())
	return nil
}

// captureEndless ends a capture during endless output: each piece that is passed on makes the
// program print another.
func captureEndless() error {
	var held int // the captured standard error, as a child inherits it
	c, err := self.NewCapture(func([]byte) {}, func([]byte) { _, _ = unix.Write(held, []byte("more\n")) })
	if err != nil {
		return err
	}
	if held, err = unix.Dup(int(os.Stderr.Fd())); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stderr, "first"); err != nil {
		return err
	}
	return c.Flush()
}

// TestCapture runs a program that captures everything on its standard output, and on standard
// error what goes through os.Stderr. After the capture both are as they were.
func TestCapture(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleCapture+"=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	if want := "captured \"printed\\nchild\\nraw\\nLARGE\" and \"complained\\n\"\n"; stdout.String() != want {
		t.Errorf("stdout %q, want %q", &stdout, want)
	}
	if want := "unheard\npanic: raw\nlate\n"; stderr.String() != want {
		t.Errorf("stderr %q, want %q", &stderr, want)
	}
}

// TestReader closes the reading ends of two pipes, which ends a Read of their Reader.
func TestReader(t *testing.T) {
	stdoutReader, stdout := pipe(t)
	stderrReader, stderr := pipe(t)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = self.NewReader(stdout, stderr).Read(nil)
	}()
	if err := stdoutReader.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := stderr.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
		t.Error("Read has ended while one of two pipes is read")
	default:
	}
	if err := stderrReader.Close(); err != nil {
		t.Fatal(err)
	}
	<-gone
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.Close()
	})
	return r, w
}
