package stdio

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/logs"
)

const (
	// maxMessage bounds a message of a plugin, in bytes. go-plugin sends one kilobyte.
	maxMessage = 4 << 20
	// minRefetch and maxRefetch are the shortest and the longest pause before the host
	// fetches again from a plugin whose server has ended the connection. A plugin on
	// go-plugin blocks when it prints and no host fetches.
	minRefetch = 10 * time.Millisecond
	maxRefetch = 5 * time.Second
)

// FetchConfig says what becomes of a plugin's output.
type FetchConfig struct {
	// Logger gets each line, as if the plugin had printed it on its own standard output
	// or error.
	Logger *slog.Logger
	// Stdout and Stderr, if not nil, get the bytes as they come.
	Stdout, Stderr io.Writer
	// Exited is closed when the plugin's process has ended, and then ends the fetching.
	Exited <-chan struct{}
}

// Fetcher fetches what a plugin prints.
type Fetcher struct {
	stdout, stderr *logs.Collector
	opened         chan struct{} // closed when the plugin was first asked
	done           chan struct{} // closed when all output was read and logged
}

// Fetch fetches in the background until the plugin ends, or has no such service.
func Fetch(conn grpc.ClientConnInterface, cfg FetchConfig) *Fetcher {
	f := &Fetcher{
		stdout: logs.NewCollector(cfg.Logger, logs.CollectorConfig{Stream: "stdout", Copy: cfg.Stdout}),
		stderr: logs.NewCollector(cfg.Logger, logs.CollectorConfig{Stream: "stderr", Copy: cfg.Stderr}),
		opened: make(chan struct{}),
		done:   make(chan struct{}),
	}
	stdout, toStdout := io.Pipe()
	stderr, toStderr := io.Pipe()
	var readers sync.WaitGroup
	collect := func(c *logs.Collector, r *io.PipeReader) {
		_ = r.CloseWithError(c.Run(r)) // always nil
	}
	readers.Go(func() { collect(f.stdout, stdout) })
	readers.Go(func() { collect(f.stderr, stderr) })
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(f.done)
		defer cancel()
		if err := fetchAll(ctx, conn, toStdout, toStderr, cfg.Exited, sync.OnceFunc(func() { close(f.opened) })); err != nil {
			cfg.Logger.Warn("fetching the plugin's output ended", "error", err)
		}
		_ = errors.Join(toStdout.Close(), toStderr.Close()) // always nil
		readers.Wait()
	}()
	return f
}

// Opened is closed when the plugin was asked for its output, with success or not. A plugin
// that is told to stop before sends nothing.
func (f *Fetcher) Opened() <-chan struct{} { return f.opened }

// Drain waits until what the plugin sent before its end is logged. After patience the rest
// is not logged, so that a slow log handler does not delay the end of the plugin. Drain
// then waits for hurry at most: what still blocks is the user's code.
func (f *Fetcher) Drain(patience, hurry time.Duration) {
	if closesWithin(f.done, patience) {
		return
	}
	f.stdout.Hurry()
	f.stderr.Hurry()
	closesWithin(f.done, hurry)
}

// fetchAll fetches over one connection after another, until the plugin ends. It calls opened
// when it has asked the plugin.
func fetchAll(ctx context.Context, conn grpc.ClientConnInterface, stdout, stderr io.Writer, exited <-chan struct{}, opened func()) error {
	var unreachable <-chan struct{} // nil for the first stream: the host may read from it what an ended process has printed
	for pause := minRefetch; ; pause = min(2*pause, maxRefetch) {
		began := time.Now()
		lost, err := fetch(ctx, conn, stdout, stderr, unreachable, opened)
		unreachable = exited
		if !lost || closesWithin(exited, pause) {
			return err
		}
		if time.Since(began) > maxRefetch {
			pause = minRefetch
		}
	}
}

// fetch receives until the stream ends. It reports lost if the stream ended with its
// connection. A plugin without the service prints nothing in this way, and fetch then returns nil.
//
// When unreachable is closed, fetch no longer waits for a connection. Without that, the dial
// of a plugin that had ended delayed its end in the host by 10 to 200 ms.
func fetch(ctx context.Context, conn grpc.ClientConnInterface, stdout, stderr io.Writer, unreachable <-chan struct{}, opened func()) (lost bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	isOpen := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-unreachable:
			cancel()
		case <-isOpen:
		}
	})
	s, err := messages.StreamStdio(ctx, conn, grpc.MaxCallRecvMsgSize(maxMessage))
	close(isOpen)
	waiting.Wait()
	opened()
	for err == nil {
		var data messages.StdioData
		if err = s.RecvMsg(&data); err != nil {
			break
		}
		switch data.Channel {
		case messages.Stdout:
			_, err = stdout.Write(data.Data)
		case messages.Stderr:
			_, err = stderr.Write(data.Data)
		default: // a channel that go-plugin does not have
		}
	}
	switch status.Code(err) {
	case codes.Unavailable:
		return true, nil
	case codes.Unimplemented, codes.Canceled:
		return false, nil
	default:
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, err
	}
}

// closesWithin waits for ch to be closed, and reports whether it was.
func closesWithin(ch <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
	}
	select { // both may have happened
	case <-ch:
		return true
	default:
		return false
	}
}
