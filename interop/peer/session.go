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

// Status is the outcome.
type Status string

// The outcomes.
const (
	OK          Status = "ok"
	Failed      Status = "failed"
	Unsupported Status = "unsupported" // not supported by the framework of the host
)

// ErrUnsupported means that a framework, or a release of it, lacks a feature.
// The error that wraps it names the feature.
var ErrUnsupported = errors.New("unsupported")

// These are the checks, in the order in which they are made. Start comes first.
const (
	Start   = "start"
	Version = "version"
	Ping    = "ping"
	Unary   = "unary"
	Stream  = "stream"
	Large   = "large"
	Log     = "log"
	// Callback checks that the plugin can call the host through the broker.
	Callback = "callback"
	// Serveback checks that the host can call the plugin through the broker.
	Serveback = "serveback"
	Stdio     = "stdio"
	// Printing checks a plugin that prints more than a pipe holds.
	Printing = "printing"
	Kill     = "kill"
	// Tail checks that the last output arrives: another process of the plugin
	// prints, and is stopped at once.
	Tail = "tail"
	// Linger stops another process of the plugin, which takes longer to end
	// than the 2 s that go-plugin waits.
	Linger = "linger"
	// Reattach attaches a second client to another process of the plugin, and
	// stops it.
	Reattach = "reattach"
)

// Checks are the names of all.
var Checks = []string{Start, Version, Ping, Unary, Stream, Large, Log, Callback, Serveback, Stdio, Printing, Kill, Tail, Linger, Reattach}

// patience bounds each check. It is longer than any timeout of go-plugin except
// that of the start, so that the error of a check shows the cause.
const patience = 20 * time.Second

// session is the run of the checks against one plugin.
type session struct {
	host   Host
	want   int
	names  []string // names of the checks; Start and Kill, which all others need, are always made
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
