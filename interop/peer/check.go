//go:build unix

package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/interop/peer/service"
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
	// Reattach has a second client attach to another process of the plugin,
	// and stop it.
	Reattach = "reattach"
)

// Checks are the names of all.
var Checks = []string{Start, Version, Ping, Unary, Stream, Large, Log, Callback, Serveback, Stdio, Printing, Kill, Tail, Reattach}

// patience bounds each check. It is more than any timeout of go-plugin's but
// the one for the start, so that a check shows how it went wrong.
const patience = 20 * time.Second

// session is the run of the checks against one plugin.
type session struct {
	host   Host
	want   int
	names  string // of the checks, empty for all
	plugin Plugin
}

func (s *session) run(ctx context.Context, report func(Result)) {
	checks := map[string]func(context.Context) error{
		Start: s.start, Version: s.version, Ping: s.ping, Unary: s.unary, Stream: s.stream, Large: s.large, Log: s.log,
		Callback: s.callback, Serveback: s.serveback, Stdio: s.stdio, Printing: s.printing, Kill: s.kill, Tail: s.tail, Reattach: s.reattach,
	}
	for _, name := range Checks {
		// Start and Kill are what all others need.
		if s.names != "" && name != Start && name != Kill && !slices.Contains(strings.Split(s.names, ","), name) {
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

func (s *session) start(ctx context.Context) (err error) {
	s.plugin, err = s.host.Start(ctx)
	return err
}

func (s *session) client() service.Client { return service.Client{Conn: s.plugin} }

func (s *session) version(ctx context.Context) error {
	served, err := s.client().Version(ctx)
	if err != nil {
		return err
	}
	if agreed := s.plugin.Version(); int(served) != agreed || s.want != 0 && agreed != s.want {
		return fmt.Errorf("version %d was agreed on and %d is served, want %d", agreed, served, s.want)
	}
	return nil
}

func (s *session) ping(ctx context.Context) error { return s.plugin.Ping(ctx) }

func (s *session) unary(ctx context.Context) error {
	got, err := service.Ask(ctx, s.plugin)
	return compare(got, service.Question, err)
}

func compare(got, want string, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

func (s *session) stream(ctx context.Context) error {
	const n = 1000
	numbers, err := s.client().Count(ctx, n)
	if err != nil {
		return err
	}
	if len(numbers) != n {
		return fmt.Errorf("%d numbers came, want %d", len(numbers), n)
	}
	for i, number := range numbers {
		if number != uint32(i) {
			return fmt.Errorf("number %d is %d", i, number)
		}
	}
	return nil
}

// large sends a message that is larger than what grpc allows unless told, and
// gets it back.
func (s *session) large(ctx context.Context) error {
	data := bytes.Repeat([]byte("interop!"), 1<<20)
	got, err := s.client().Echo(ctx, data)
	if err == nil && !bytes.Equal(got, data) {
		return fmt.Errorf("%d bytes came back, which are not the %d that were sent", len(got), len(data))
	}
	return err
}

func (s *session) log(ctx context.Context) error {
	const text = "something to log"
	if err := s.client().Log(ctx, text); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		for _, r := range s.plugin.Records() {
			if r.Message != text {
				continue
			}
			if r.Level != "warn" || r.Fields[service.LogField] != service.LogValue {
				return fmt.Errorf("the record is %+v", r)
			}
			return nil
		}
		return fmt.Errorf("no record with the message %q", text)
	})
}

// eventually waits until check returns nil.
func eventually(ctx context.Context, check func() error) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-poll.C:
		}
	}
}

func (s *session) callback(ctx context.Context) error {
	id := s.plugin.NextID()
	stop := s.plugin.Serve(id, service.FromHost)
	defer stop()
	got, err := s.client().CallHost(ctx, id)
	return compare(got, string(service.FromHost)+service.Question, err)
}

func (s *session) serveback(ctx context.Context) error {
	id, err := s.client().ServeBack(ctx)
	if err != nil {
		return err
	}
	conn, closeConn, err := s.plugin.Dial(ctx, id)
	if err != nil {
		return err
	}
	got, err := service.Ask(ctx, conn)
	return errors.Join(compare(got, string(service.FromPlugin)+service.Question, err), closeConn(), s.client().StopServing(ctx, id))
}

func (s *session) stdio(ctx context.Context) error {
	const text = "something to print\n"
	if err := s.client().Print(ctx, text); err != nil {
		return err
	}
	return eventually(ctx, func() error { return printed(s.plugin, text) })
}

func printed(p Plugin, text string) error {
	return errors.Join(
		contains("standard output", p.Stdout(), service.StdoutMark+text),
		contains("standard error", p.Stderr(), service.StderrMark+text))
}

func contains(what, got, want string) error {
	if !strings.Contains(got, want) {
		return fmt.Errorf("%s is %d bytes, %.100q, want %q in it", what, len(got), got, want)
	}
	return nil
}

// halfPipe is half of what a pipe holds: so much can be printed with nobody
// reading.
const halfPipe = 32 << 10

// printing shows that a plugin which prints is not held up by a host that does
// not listen.
func (s *session) printing(ctx context.Context) error {
	return s.client().Print(ctx, strings.Repeat("=", 10*halfPipe))
}

func (s *session) kill(ctx context.Context) error { return end(ctx, s.plugin) }

// end stops a plugin, and nothing may be left of it.
func end(ctx context.Context, p Plugin) error {
	pid := p.PID()
	return errors.Join(p.Close(ctx), gone(pid), nothingLeft())
}

func gone(pid int) error {
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("process %d is left: %v", pid, err)
	}
	return nil
}

// nothingLeft looks in the directory for temporary files, which is this run's
// own.
func nothingLeft() error {
	var left []string
	err := filepath.WalkDir(os.TempDir(), func(path string, _ fs.DirEntry, err error) error {
		left = append(left, path)
		return err
	})
	if left = left[1:]; err == nil && len(left) > 0 {
		err = fmt.Errorf("files are left: %s", strings.Join(left, ", "))
	}
	return err
}

func (s *session) tail(ctx context.Context) error {
	const lastWords = "last words\n"
	p, err := s.host.Start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(service.Client{Conn: p}.Print(ctx, strings.Repeat("=", halfPipe)+lastWords), end(ctx, p),
		contains("standard output", p.Stdout(), lastWords), contains("standard error", p.Stderr(), lastWords))
}

func (s *session) reattach(ctx context.Context) error {
	first, err := s.host.Start(ctx)
	if err != nil {
		return err
	}
	second, err := s.host.Attach(ctx, first)
	if err != nil {
		return errors.Join(err, first.Close(ctx))
	}
	err = second.Ping(ctx)
	got, unaryErr := service.Ask(ctx, second)
	return errors.Join(err, compare(got, service.Question, unaryErr), second.Close(ctx), end(ctx, first))
}
