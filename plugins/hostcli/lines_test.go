package hostcli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// collect returns all lines, and the error in place of the last.
func collect(t *testing.T, lines <-chan Line) ([]Line, error) {
	t.Helper()
	var collected []Line
	for l := range lines {
		if l.Err != nil {
			if l.Number != len(collected)+1 {
				t.Errorf("the error is that of line %d, after %d lines", l.Number, len(collected))
			}
			if next, ok := <-lines; ok {
				t.Errorf("line %v follows an error", next)
			}
			return collected, l.Err
		}
		collected = append(collected, l)
	}
	return collected, nil
}

func TestLines(t *testing.T) {
	long := strings.Repeat("é", lineReadSize)
	for _, tt := range []struct {
		name  string
		input string
		want  []Line
	}{
		{"nothing", "", nil},
		{"one line", "a\n", []Line{{Number: 1, Text: "a", Size: 2}}},
		{"no end", "a\nb", []Line{{Number: 1, Text: "a", Size: 2}, {Number: 2, Text: "b", Size: 1}}},
		{"empty lines", "\n\r\n\n", []Line{{Number: 1, Size: 1}, {Number: 2, Size: 2}, {Number: 3, Size: 1}}},
		{"CR LF", "a\r\nb\r\n", []Line{{Number: 1, Text: "a", Size: 3}, {Number: 2, Text: "b", Size: 3}}},
		{"CR alone is text", "a\rb\r", []Line{{Number: 1, Text: "a\rb\r", Size: 4}}},
		{"longer than a read", long + "\na", []Line{{Number: 1, Text: long, Size: 2*lineReadSize + 1}, {Number: 2, Text: "a", Size: 1}}},
		{"as long as a read", long[:lineReadSize] + "\n", []Line{{Number: 1, Text: long[:lineReadSize], Size: lineReadSize + 1}}},
		{"as long as may be", long + "\r\n" + long, []Line{{Number: 1, Text: long, Size: len(long) + 2}, {Number: 2, Text: long, Size: len(long)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := collect(t, TextLines(t.Context(), iotest.HalfReader(strings.NewReader(tt.input)), len(long)))
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("error %v, lines (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestLinesErrors(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, tt := range []struct {
		name  string
		input io.Reader
		lines int // the lines before the error
		want  string
	}{
		{"read error", io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 1, broken.Error()},
		{"not UTF-8", strings.NewReader("a\nb\n\xff\nc\n"), 2, "the line is not UTF-8"},
		{"too long", strings.NewReader("1234567890\r\n12345678901\n"), 1, "the line is longer than 10 bytes"},
		{"too long, without an end", strings.NewReader("1234567890\n12345678901"), 1, "the line is longer than 10 bytes"},
		{"endless", strings.NewReader(strings.Repeat("x", 10*lineReadSize)), 0, "the line is longer than 10 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, err := collect(t, TextLines(t.Context(), tt.input, 10))
			if err == nil || err.Error() != tt.want || len(lines) != tt.lines {
				t.Errorf("error %v after %d lines, want %q after %d", err, len(lines), tt.want, tt.lines)
			}
		})
	}
}

func TestLinesOfAnyBytes(t *testing.T) {
	got, err := collect(t, Lines(t.Context(), strings.NewReader("\xff\n"), 10))
	if diff := cmp.Diff([]Line{{Number: 1, Text: "\xff", Size: 2}}, got); err != nil || diff != "" {
		t.Errorf("error %v, lines (-want +got):\n%s", err, diff)
	}
}

// The second line is not received.
func TestLinesStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lines := Lines(ctx, strings.NewReader("a\nb\n"), 10)
		<-lines
		cancel()
		synctest.Wait()
		if l, ok := <-lines; ok {
			t.Errorf("line %v comes after the end of the context", l)
		}
	})
}

// Nothing is left of an input that is closed before its next line comes.
func TestLinesOfAClosedInput(t *testing.T) {
	stdin := setStdin(t)
	in := mustOpen(t, t.Context(), "-")
	if _, err := stdin.WriteString("a\nb"); err != nil {
		t.Fatal(err)
	}
	lines := Lines(t.Context(), in, 10)
	if l := <-lines; l.Text != "a" || l.Err != nil {
		t.Errorf("line %v", l)
	}
	in.Close()
	if l := <-lines; l.Err == nil {
		t.Errorf("line %v, want an error", l)
	}
	if l, ok := <-lines; ok {
		t.Errorf("line %v follows an error", l)
	}
}
