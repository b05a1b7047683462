package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/hello"
)

// counts is what happened to the calls of one step.
type counts struct {
	calls    int           // answered
	failures int           // failed, although the handle could have made them wait
	lost     int           // in flight when their plugin ended
	gap      time.Duration // longest time without an answer
}

// load makes calls and counts them. Its methods are safe for concurrent use.
type load struct {
	mu      sync.Mutex // guards the fields below
	current counts
	last    time.Time // of the last answer, or of the last reset
	err     error     // first failure of all steps
}

// call calls the plugin until ctx ends or a call fails. A lost call does not count as
// failed.
func (l *load) call(ctx context.Context, client hello.GreeterClient) {
	for ctx.Err() == nil {
		_, err := client.Greet(ctx, &hello.GreetRequest{Name: "caller"}, grpc.WaitForReady(true))
		if ctx.Err() != nil {
			return // ctx may have ended the call
		}
		if !l.count(err) {
			return
		}
	}
}

// count counts a call that ended with err, and reports whether the caller goes on.
func (l *load) count(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var exit *host.ExitError
	switch {
	case err == nil:
		l.current.calls++
		now := time.Now()
		l.current.gap = max(l.current.gap, now.Sub(l.last))
		l.last = now
	case errors.As(err, &exit) && !host.NotBegun(err):
		l.current.lost++
	default:
		l.current.failures++
		if l.err == nil {
			l.err = err
		}
		return false
	}
	return true
}

// reset begins a step.
func (l *load) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.last = counts{}, time.Now()
}

// counts returns what happened in the step so far. A gap that goes on counts.
func (l *load) counts() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.current
	c.gap = max(c.gap, time.Since(l.last))
	return c
}

// failure returns the first failure of all steps.
func (l *load) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
