package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// collectLines returns all lines of r, and the error that ended them.
func collectLines(t *testing.T, r io.Reader, limit int) ([]line, error) {
	t.Helper()
	lines := make(chan line)
	go readLines(t.Context(), r, limit, lines)
	var collected []line
	for l := range lines {
		if l.err != nil {
			if next, ok := <-lines; ok {
				t.Errorf("line %v follows an error", next)
			}
			return collected, l.err
		}
		collected = append(collected, l)
	}
	return collected, nil
}

func TestReadLines(t *testing.T) {
	long := strings.Repeat("é", readSize)
	for _, tt := range []struct {
		name  string
		input string
		want  []line
	}{
		{"nothing", "", nil},
		{"one line", "a\n", []line{{number: 1, text: "a", size: 2}}},
		{"no end", "a\nb", []line{{number: 1, text: "a", size: 2}, {number: 2, text: "b", size: 1}}},
		{"empty lines", "\n\r\n\n", []line{{number: 1, size: 1}, {number: 2, size: 2}, {number: 3, size: 1}}},
		{"CR LF", "a\r\nb\r\n", []line{{number: 1, text: "a", size: 3}, {number: 2, text: "b", size: 3}}},
		{"CR alone is text", "a\rb\r", []line{{number: 1, text: "a\rb\r", size: 4}}},
		{"longer than a read", long + "\na", []line{{number: 1, text: long, size: 2*readSize + 1}, {number: 2, text: "a", size: 1}}},
		{"as long as a read", long[:readSize] + "\n", []line{{number: 1, text: long[:readSize], size: readSize + 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := collectLines(t, iotest.HalfReader(strings.NewReader(tt.input)), maxLine)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(line{})); err != nil || diff != "" {
				t.Errorf("error %v, lines (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestReadLinesErrors(t *testing.T) {
	broken := errors.New("the disk is broken")
	for _, tt := range []struct {
		name  string
		input io.Reader
		lines int // before the error
		want  string
	}{
		{"read error", io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 1, broken.Error()},
		{"not UTF-8", strings.NewReader("a\nb\n\xff\nc\n"), 2, "the line is not UTF-8"},
		{"too long", strings.NewReader("123456789\n1234567890\n"), 1, "the line is longer than 10 bytes"},
		{"endless", strings.NewReader(strings.Repeat("x", 10*readSize)), 0, "the line is longer than 10 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, err := collectLines(t, tt.input, 10)
			if err == nil || err.Error() != tt.want || len(lines) != tt.lines {
				t.Errorf("error %v after %d lines, want %q after %d", err, len(lines), tt.want, tt.lines)
			}
		})
	}
}

func TestReadLinesStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	lines := make(chan line)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		readLines(ctx, strings.NewReader("a\nb\n"), maxLine, lines)
	}()
	<-lines
	cancel()
	<-ended // the second line is never taken
}
