// Package streamtest has what tests of streams share: waits with a bound, and checks of
// the two ends.
package streamtest

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// Hang is how long a test waits before it fails.
const Hang = time.Minute

// Bounded returns a context that ends with the test, or after [Hang].
func Bounded(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Hang)
	tb.Cleanup(cancel)
	return ctx
}

// Receive returns the next value of ch. The test fails if none comes.
func Receive[T any](tb testing.TB, what string, ch <-chan T) (value T) {
	tb.Helper()
	select {
	case value = <-ch:
	case <-time.After(Hang):
		tb.Fatalf("%s: nothing after %v", what, Hang)
	}
	return value
}

// Result is what a function returned that ran in a goroutine.
type Result[T any] struct {
	Value T
	Err   error
}

// Go runs f in a goroutine, and returns the channel for its result.
func Go[T any](f func() (T, error)) <-chan Result[T] {
	done := make(chan Result[T], 1)
	go func() {
		value, err := f()
		done <- Result[T]{value, err}
	}()
	return done
}

// CheckClose closes each of closers. One may be closed already.
func CheckClose(tb testing.TB, closers ...io.Closer) {
	tb.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			tb.Errorf("close of a %T: %v", c, err)
		}
	}
}

// CheckPassing checks that a and b are the two ends of one open stream.
func CheckPassing(tb testing.TB, a, b net.Conn) {
	tb.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		const text = "what passes"
		wrote := Go(func() (int, error) { return io.WriteString(from, text) })
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			tb.Fatalf("read %q, %v; want %q", got, err, text)
		}
		if r := Receive(tb, "the write", wrote); r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
}

// CheckEnded checks that the other end of conn was closed.
func CheckEnded(tb testing.TB, conn net.Conn) {
	tb.Helper()
	_ = conn.SetDeadline(time.Now().Add(Hang)) // a pipe refuses it when the other end has gone
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		tb.Errorf("read %d bytes, %v; want the end", n, err)
	}
}
