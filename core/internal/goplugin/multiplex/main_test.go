package multiplex

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang is how long a test waits before it fails.
const hang = time.Minute

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, what string, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(hang):
		t.Fatalf("%s: nothing after %v", what, hang)
	}
	return value
}

// result is what a function returned that ran in a goroutine.
type result[T any] struct {
	value T
	err   error
}

func start[T any](f func() (T, error)) <-chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		value, err := f()
		done <- result[T]{value, err}
	}()
	return done
}

func checkClose(t *testing.T, closers ...io.Closer) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("close of a %T: %v", c, err)
		}
	}
}

// checkPassing checks that a and b are the two ends of one open stream.
func checkPassing(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		const text = "what passes"
		wrote := start(func() (int, error) { return io.WriteString(from, text) })
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			t.Fatalf("read %q, %v; want %q", got, err, text)
		}
		if r := receive(t, "the write", wrote); r.err != nil {
			t.Fatal(r.err)
		}
	}
}
