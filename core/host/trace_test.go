package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
	"github.com/plugwire/plugwire/core/internal/negotiation"
)

// TestTraceEvents checks that an event names its start, and that a hook may change it.
func TestTraceEvents(t *testing.T) {
	t.Parallel()
	var events []Event
	trace := &Trace{
		ProcessStart: func(e ProcessStartEvent) {
			events = append(events, e.Event)
			e.Args[0], e.Env[0] = "changed", "changed"
		},
		Answer: func(e AnswerEvent) {
			events = append(events, e.Event)
			e.Certificate[0] = 'x'
			e.Refusal.Reason = "changed"
		},
	}
	cmd := &exec.Cmd{Path: "p", Args: []string{"p"}, Env: []string{"A=1"}}
	answer := &negotiation.Answer{Cert: []byte("cert"), Refusal: &handshake.Error{Reason: "r"}}
	for _, name := range []string{"first", "second"} {
		tracer := newTracer([]*Trace{trace}, name)
		tracer.processStart(cmd, "")
		tracer.answer(answer)
		tracer.dial(answer.Transport, "") // has no hook
	}
	if cmd.Args[0] != "p" || cmd.Env[0] != "A=1" || string(answer.Cert) != "cert" || answer.Refusal.Reason != "r" {
		t.Errorf("a hook changed %v, %v, %+v", cmd.Args, cmd.Env, answer)
	}
	var starts []uint64
	for i, e := range events {
		starts = append(starts, e.Start)
		if want := []string{"first", "second"}[i/2]; e.Plugin != want || e.Time.IsZero() || i > 0 && e.Time.Before(events[i-1].Time) {
			t.Errorf("event %d: %+v, want one of plugin %s", i, e, want)
		}
	}
	if !slices.Equal(starts, []uint64{1, 1, 2, 2}) {
		t.Errorf("starts %v", starts)
	}
}

// Every trace of a start is told that it failed, with the error that Launch returns, and
// each counts its own starts.
func TestTraceFailed(t *testing.T) {
	t.Parallel()
	var events []FailedEvent
	first := &Trace{Failed: func(e FailedEvent) {
		events = append(events, e)
		e.Err.Name = "changed"
	}}
	second := &Trace{Failed: func(e FailedEvent) { events = append(events, e) }}
	opts := []Option{WithProtocols(greeter.GreeterProtocol), WithTransports(noTransport{}), WithName("n"), WithPlaintext()}
	launch := func(opts ...Option) *StartError {
		_, err := Launch(t.Context(), exec.Command(filepath.Join(t.TempDir(), "none")), opts...)
		start, ok := errors.AsType[*StartError](err)
		if !ok {
			t.Fatalf("got %v, want a StartError", err)
		}
		return start
	}
	launch(append(opts, WithTrace(second))...)
	err := launch(append(opts, Options(WithTrace(first), WithTrace(second)))...)
	var got []string
	for _, e := range events {
		if !errors.Is(e.Err, os.ErrNotExist) {
			t.Errorf("the event has %v", e.Err)
		}
		got = append(got, fmt.Sprint(e.Plugin, e.Start, e.Err.Phase))
	}
	want := []string{fmt.Sprint("n", 1, err.Phase), fmt.Sprint("n", 1, err.Phase), fmt.Sprint("n", 2, err.Phase)}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if err.Name != "n" {
		t.Errorf("a hook changed the error: %v", err)
	}
}
