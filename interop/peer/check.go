package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/interop/peer/service"
)

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

// large sends a message that is larger than grpc's default limit, and gets it
// back.
func (s *session) large(ctx context.Context) error {
	data := bytes.Repeat([]byte("interop!"), 1<<20)
	got, err := s.client().Echo(ctx, data)
	if err == nil && !bytes.Equal(got, data) {
		return fmt.Errorf("%d bytes came back, which are not the %d that were sent", len(got), len(data))
	}
	return err
}

func (s *session) log(ctx context.Context) error {
	const text = `with "quotes" and = in it`
	if err := s.client().Log(ctx, text); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		for _, r := range s.plugin.Records() {
			if r.Message != service.LogMessage {
				continue
			}
			if r.Level != "warn" || r.Fields[service.LogField] != text {
				return fmt.Errorf("the record is %+v", r)
			}
			return nil
		}
		return fmt.Errorf("no record with the message %q", service.LogMessage)
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
	stop, err := s.plugin.Serve(ctx, id, service.FromHost)
	if err != nil {
		return err
	}
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
	return eventually(ctx, func() error {
		return errors.Join(
			contains("standard output", s.plugin.Stdout(), service.StdoutMark+text),
			contains("standard error", s.plugin.Stderr(), service.StderrMark+text))
	})
}

func contains(what, got, want string) error {
	if !strings.Contains(got, want) {
		return fmt.Errorf("%s is %d bytes, %.100q, want %q in it", what, len(got), got, want)
	}
	return nil
}

// halfPipe is half of what a pipe holds: a plugin can print so much without a
// reader.
const halfPipe = 32 << 10

// printing shows that a host which does not read never blocks a plugin that
// prints.
func (s *session) printing(ctx context.Context) error {
	return s.client().Print(ctx, strings.Repeat("=", 10*halfPipe))
}

func (s *session) kill(ctx context.Context) error { return end(ctx, s.plugin) }

// end stops a plugin, and checks that nothing is left of it.
func end(ctx context.Context, p Plugin) error {
	pid := p.PID()
	return errors.Join(p.Close(ctx), gone(pid), nothingLeft())
}

func gone(pid int) error {
	process, err := os.FindProcess(pid)
	if err == nil && !errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return fmt.Errorf("process %d is left", pid)
	}
	return nil
}

// nothingLeft checks this run's own directory for temporary files.
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

// tail tries again, because go-plugin's host may lose output that has reached
// it: Kill closes the connection as soon as Shutdown is answered, even if output
// is unread.
func (s *session) tail(ctx context.Context) (err error) {
	const attempts = 3
	for range attempts {
		if err = s.lastWords(ctx); err == nil {
			return nil
		}
	}
	return err
}

func (s *session) lastWords(ctx context.Context) error {
	const lastWords = "last words\n"
	p, err := s.host.Start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(service.Client{Conn: p}.Print(ctx, strings.Repeat("=", halfPipe)+lastWords), end(ctx, p),
		contains("standard output", p.Stdout(), lastWords), contains("standard error", p.Stderr(), lastWords))
}

// lingering is longer than go-plugin's Kill waits for the end of the process
// after the answer to Shutdown. Kill waits for the answer itself without a bound.
const lingering = 2500 * time.Millisecond

func (s *session) linger(ctx context.Context) error {
	p, err := s.host.Start(ctx, "-linger", lingering.String())
	if err != nil {
		return err
	}
	return end(ctx, p)
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
