package logs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// crashVariable makes the test binary crash in the way that its value names.
const crashVariable = "LOGS_TEST_CRASH"

func crash(how string) {
	switch how {
	case "value":
		panic("boom")
	case "lines":
		panic("one\ntwo")
	case "index":
		fmt.Println([]int{}[len(os.Args)])
	case "nil":
		fmt.Println(noProcess().Pid)
	case "repanic":
		defer func() { panic(fmt.Sprint("again: ", recover())) }()
		panic(errors.New("first"))
	case "fatal":
		new(sync.Mutex).Unlock()
	}
	os.Exit(0)
}

func noProcess() *os.Process { return nil }

// The Collector must understand what the runtime of this Go version prints.
func TestPanicOfRealProcess(t *testing.T) {
	for _, test := range []struct{ how, text, record, stack string }{
		{"value", "boom", "panic: boom", "logs_test.crash("},
		{"lines", "one\n\ttwo", "panic: one\n\ttwo", "logs_test.crash("},
		{"index", "runtime error: index out of range [1] with length 0", "panic: runtime error: index", "logs_test.crash("},
		{"nil", "runtime error: invalid memory address or nil pointer dereference", "panic: runtime error: inv", "[signal SIGSEGV"},
		{"repanic", "again: first", "panic: first", "logs_test.crash"},
		{"fatal", "sync: unlock of unlocked mutex", "fatal error: sync", "logs_test.crash("},
	} {
		t.Run(test.how, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), crashVariable+"="+test.how, "GOTRACEBACK=single")
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Pass all of it at once: a busy machine may need more time for it than a
			// block is held back.
			printed, err := io.ReadAll(stderr)
			if err != nil {
				t.Fatal(err)
			}
			c, rec := collect(t, bytes.NewReader(printed))
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 2 {
				t.Fatalf("the process ended with %v, want exit code 2", err)
			}
			records := rec.all()
			if len(records) != 1 || records[0].Level != slog.LevelError || !strings.HasPrefix(records[0].Message, test.record) {
				t.Errorf("records %q, want one error %q", rec.shown(), test.record)
			}
			text, stack, ok := c.Panic()
			if !ok || !strings.Contains(text, test.text) || !strings.Contains(stack, test.stack) || !strings.Contains(stack, "goroutine ") {
				t.Errorf("Panic() = %q, %q, %v, want %q and a stack with %q", text, stack, ok, test.text, test.stack)
			}
			if want := "stack=" + stack; fields(records[0])[0] != want {
				t.Errorf("the record has %q, want %q", fields(records[0]), want)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	for _, test := range []struct {
		name, input string
		text, stack string
		records     []string
	}{
		{
			name:  "runtime error",
			input: "hello\npanic: runtime error: invalid memory address\n[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\nexit status 2\n",
			text:  "runtime error: invalid memory address",
			stack: "[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\nexit status 2",
			records: []string{
				"INFO hello | stream=stderr",
				"ERROR panic: runtime error: invalid memory address | stack=[signal SIGSEGV: segmentation violation]\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\nexit status 2",
			},
		},
		{
			name:    "panic while panicking",
			input:   "panic: a [recovered]\r\n\tpanic: b\r\n\r\ngoroutine 1 [running]:",
			text:    "a [recovered]\n\tpanic: b",
			stack:   "goroutine 1 [running]:",
			records: []string{"ERROR panic: a [recovered]\n\tpanic: b | stack=goroutine 1 [running]:"},
		},
		{
			name:    "signal",
			input:   "SIGQUIT: quit\nPC=0x1\n\ngoroutine 0\n-----\n\nSIGQUIT: quit\nPC=0x2\n",
			text:    "SIGQUIT: quit",
			stack:   "PC=0x1\n\ngoroutine 0\n-----\n\nSIGQUIT: quit\nPC=0x2",
			records: []string{"ERROR SIGQUIT: quit | stack=PC=0x1\n\ngoroutine 0\n-----\n\nSIGQUIT: quit\nPC=0x2"},
		},
		{
			name:    "a record ends it",
			input:   "panic: not really\n[INFO] on we go\nmore\n",
			text:    "not really",
			records: []string{"ERROR panic: not really", "INFO on we go", "INFO more | stream=stderr"},
		},
		{
			name:    "two",
			input:   "panic: a\nx\nfatal error: all goroutines are asleep - deadlock!\ny\n",
			text:    "all goroutines are asleep - deadlock!",
			stack:   "y",
			records: []string{"ERROR panic: a | stack=x", "ERROR fatal error: all goroutines are asleep - deadlock! | stack=y"},
		},
		{
			name:    "escape codes",
			input:   "panic: \x1b[31mred\nok\n\x1b[0m\n",
			text:    `"\x1b[31mred"`,
			stack:   "ok\n\"\\x1b[0m\"",
			records: []string{"ERROR \"panic: \\x1b[31mred\" | stack=ok\n\"\\x1b[0m\""},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, rec := collect(t, strings.NewReader(test.input))
			if diff := cmp.Diff(test.records, rec.shown()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			text, stack, ok := c.Panic()
			if diff := cmp.Diff([]string{test.text, test.stack}, []string{text, stack}); diff != "" || !ok {
				t.Errorf("Panic() reports %v (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestNoPanic(t *testing.T) {
	c, rec := collect(t, strings.NewReader("SIGTERM: stopping\nno panic: none\n"))
	if text, _, ok := c.Panic(); ok {
		t.Errorf("Panic() = %q, want none", text)
	}
	if diff := cmp.Diff([]string{"INFO SIGTERM: stopping | stream=stderr", "INFO no panic: none | stream=stderr"}, rec.shown()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A file may have no deadlines, and a logger may have errors disabled.
func TestPanicInFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stderr")
	if err := os.WriteFile(path, []byte("panic: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for level, want := range map[slog.Level][]string{slog.LevelError: {"ERROR panic: a"}, logs.LevelFatal: nil} {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		rec := &recorder{level: level}
		c := newCollector(rec)
		if err := c.Run(file); err != nil {
			t.Errorf("Run: %v", err)
		}
		file.Close()
		if text, _, ok := c.Panic(); text != "a" || !ok {
			t.Errorf("Panic() = %q, %v", text, ok)
		}
		if diff := cmp.Diff(want, rec.shown()); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	}
}

// The Collector keeps a bounded part, and logs everything in bounded records.
func TestPanicTooLong(t *testing.T) {
	synctest.Test(t, panicTooLong) // no time passes in the bubble, however long the work takes
}

func panicTooLong(t *testing.T) {
	t.Helper()
	const lines = 60_000
	message, stackLine := strings.Repeat("é", 1<<20), "main.f(0x123456789)\n\t/some/where.go:123 +0x45\n"
	c, rec := collect(t, strings.NewReader("panic: "+message+"\n\n"+strings.Repeat(stackLine, lines)+"[INFO] next\n"))

	var got strings.Builder
	records := rec.all()
	next := len(records) - 1
	for i, record := range records[:next] {
		if record.Level != slog.LevelError {
			t.Errorf("record %d is at %v, want error", i, record.Level)
		}
		if i == 0 {
			got.WriteString(record.Message)
		}
		var numbers []string
		record.Attrs(func(a slog.Attr) bool {
			if len(a.Value.String()) > 1<<20 {
				t.Errorf("%s of record %d has %d bytes", a.Key, i, len(a.Value.String()))
			}
			if a.Key == "stack" {
				got.WriteString(a.Value.String())
			} else {
				numbers = append(numbers, field(a))
			}
			return true
		})
		want := []string{fmt.Sprintf("piece=Int64(%d)", i+1), fmt.Sprintf("last=Bool(%v)", i == next-1)}
		if diff := cmp.Diff(want, numbers); diff != "" {
			t.Errorf("numbers of record %d (-want +got):\n%s", i, diff)
		}
	}
	want := "panic: " + message + "\n\n" + strings.TrimSuffix(strings.Repeat(stackLine, lines), "\n")
	if got.String() != want {
		t.Errorf("the records hold %d bytes that differ from the %d printed", got.Len(), len(want))
	}
	if got := show(records[next]); got != "INFO next" {
		t.Errorf("the line after the panic became %q", got)
	}
	text, _, ok := c.Panic()
	if !ok || len(text) > 5<<10 || !strings.HasPrefix(text, "éé") || !strings.HasSuffix(text, "(cut; the log has all of it)") {
		t.Errorf("Panic() has a text of %d bytes that ends with %q", len(text), text[len(text)-40:])
	}

	c, _ = collect(t, strings.NewReader("panic: a\n\n"+strings.Repeat(stackLine, lines)))
	if _, stack, _ := c.Panic(); len(stack) > 65<<10 || !strings.HasPrefix(stack, stackLine) {
		t.Errorf("Panic() has a stack of %d bytes", len(stack))
	}
}

// If a running plugin prints "panic: ", the record comes when the plugin is
// silent, or at the latest after panicLongest if it prints more plain text.
func TestPanicOfLivingPlugin(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, w := net.Pipe()
			rec, c, wait := start(t, r)
			io.WriteString(w, "panic: a\nb\n")
			time.Sleep(logs.PanicIdle - 1)
			synctest.Wait()
			if got := rec.shown(); got != nil {
				t.Errorf("records %q before the time", got)
			}
			if text, stack, ok := c.Panic(); text != "a" || stack != "b" || !ok {
				t.Errorf("Panic() of a pending one = %q, %q, %v", text, stack, ok)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if diff := cmp.Diff([]string{"ERROR panic: a | stack=b"}, rec.shown()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			time.Sleep(time.Hour) // no deadline is set any more
			io.WriteString(w, "c\n")
			w.Close()
			wait()
			if diff := cmp.Diff([]string{"ERROR panic: a | stack=b", "INFO c | stream=stderr"}, rec.shown()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("chatting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, w := net.Pipe()
			rec, _, wait := start(t, r)
			io.WriteString(w, "panic: a\n")
			for range logs.PanicLongest / logs.PanicIdle * 2 {
				if got := rec.shown(); got != nil {
					t.Errorf("records %q before the time", got)
				}
				time.Sleep(logs.PanicIdle / 2)
				io.WriteString(w, "b\n")
			}
			synctest.Wait()
			if got := rec.all(); len(got) == 0 || got[0].Message != "panic: a" {
				t.Errorf("records %q after the longest time", rec.shown())
			}
			w.Close()
			wait()
		})
	})
	t.Run("without deadlines", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			rec, _, wait := start(t, r)
			io.WriteString(w, "panic: a\n")
			time.Sleep(logs.PanicIdle + 1)
			io.WriteString(w, "b\n")
			w.Close()
			wait()
			if diff := cmp.Diff([]string{"ERROR panic: a", "INFO b | stream=stderr"}, rec.shown()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("on a real pipe", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got := make(chan slog.Record, 1)
		c := newCollector(handlerFunc(func(record slog.Record) { got <- record }))
		ended := make(chan error, 1)
		go func() { ended <- c.Run(r) }()
		io.WriteString(w, "panic: a\n")
		if record := <-got; record.Message != "panic: a" {
			t.Errorf("record %q", show(record))
		}
		w.Close()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// start runs a Collector over r. wait waits for its end.
func start(t *testing.T, r io.Reader) (rec *recorder, c *logs.Collector, wait func()) {
	t.Helper()
	rec = newRecorder()
	c = newCollector(rec)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(r) }()
	return rec, c, func() {
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}
