package peer

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A Result is how a check went.
type Result struct {
	Check        string `json:"check"`
	Status       Status `json:"status"`
	Detail       string `json:"detail,omitempty"`
	Milliseconds int64  `json:"ms"`
}

// Status is the outcome in one word.
type Status string

// The outcomes.
const (
	OK          Status = "ok"
	Failed      Status = "failed"
	Unsupported Status = "unsupported" // by the framework of the host
)

// ErrUnsupported is for what a framework, or a release of it, has not. The
// error that wraps it says what.
var ErrUnsupported = errors.New("unsupported")

// The checks, in the order in which they are made. Start comes before all.
const (
	Start   = "start"
	Version = "version"
	Ping    = "ping"
	Unary   = "unary"
	Stream  = "stream"
	Large   = "large"
	Log     = "log"
	// Callback has the plugin call what the host serves through the broker.
	Callback = "callback"
	// Serveback has the host call what the plugin serves through the broker.
	Serveback = "serveback"
	Stdio     = "stdio"
	// Printing has the plugin print more than a pipe holds.
	Printing = "printing"
	Kill     = "kill"
	// Tail has another process of the plugin print, and stops it at once.
	Tail = "tail"
	// Linger has another process of the plugin take longer for its end, once it
	// is asked to stop, than the 2 s that go-plugin has for that.
	Linger = "linger"
	// Reattach has a second client attach to another process of the plugin,
	// and stop it.
	Reattach = "reattach"
)

// Checks are the names of all.
var Checks = []string{Start, Version, Ping, Unary, Stream, Large, Log, Callback, Serveback, Stdio, Printing, Kill, Tail, Linger, Reattach}

// patience bounds each check. It is more than any timeout of go-plugin's but
// the one for the start, so that a check shows how it went wrong.
const patience = 20 * time.Second

// session is the run of the checks against one plugin.
type session struct {
	host   Host
	want   int
	names  []string // of the checks; Start and Kill, which all others need, are always made
	plugin Plugin
}

func (s *session) run(ctx context.Context, report func(Result)) {
	checks := map[string]func(context.Context) error{
		Start: s.start, Version: s.version, Ping: s.ping, Unary: s.unary, Stream: s.stream, Large: s.large, Log: s.log,
		Callback: s.callback, Serveback: s.serveback, Stdio: s.stdio, Printing: s.printing, Kill: s.kill, Tail: s.tail, Linger: s.linger, Reattach: s.reattach,
	}
	for _, name := range Checks {
		if name != Start && name != Kill && !slices.Contains(s.names, name) {
			continue
		}
		result := measure(ctx, name, checks[name])
		report(result)
		if name == Start && result.Status != OK {
			return
		}
	}
}

func measure(ctx context.Context, name string, check func(context.Context) error) Result {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	started := time.Now()
	err := check(ctx)
	r := Result{Check: name, Status: OK, Milliseconds: time.Since(started).Milliseconds()}
	if err != nil {
		r.Status, r.Detail = Failed, err.Error()
	}
	if errors.Is(err, ErrUnsupported) {
		r.Status = Unsupported
	}
	return r
}
