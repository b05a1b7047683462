package host

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

// copies are the user's writers for what a plugin prints. Each is nil if there is
// none.
type copies struct{ stdout, stderr io.Writer }

func newCopies(cfg *config) (c copies) {
	if cfg.stdout != nil {
		c.stdout = &lockedWriter{w: cfg.stdout}
	}
	if cfg.stderr != nil {
		c.stderr = &lockedWriter{w: cfg.stderr}
	}
	return c
}

// lockedWriter has one Write at a time.
type lockedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// Write implements [io.Writer].
func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// maxStdioData bounds a message of GRPCStdio, in bytes. go-plugin sends one
// kilobyte.
const maxStdioData = 4 << 20

// output is what comes through GRPCStdio. A nil one is that of a plugin without.
type output struct {
	stdout, stderr *logs.Collector
	read           chan struct{} // closed when all of it was read and logged
}

// fetchOutput logs and copies what comes through GRPCStdio as if the plugin had
// printed it on its own standard output and error, until exited is closed.
func fetchOutput(logger *slog.Logger, copies copies, cc grpc.ClientConnInterface, exited <-chan struct{}) *output {
	o := &output{
		stdout: logs.NewCollector(logger, logs.CollectorConfig{Stream: "stdout", Copy: copies.stdout}),
		stderr: logs.NewCollector(logger, logs.CollectorConfig{Stream: "stderr", Copy: copies.stderr}),
		read:   make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	stdout, printed := io.Pipe()
	stderr, complained := io.Pipe()
	var readers sync.WaitGroup
	collect := func(c *logs.Collector, r *io.PipeReader) {
		_ = r.CloseWithError(c.Run(r)) // always nil
	}
	readers.Go(func() { collect(o.stdout, stdout) })
	readers.Go(func() { collect(o.stderr, stderr) })
	go func() {
		defer close(o.read)
		defer cancel()
		if err := fetchAll(ctx, cc, printed, complained, exited); err != nil {
			logger.Warn("fetching the plugin's output ended", "error", err)
		}
		_ = errors.Join(printed.Close(), complained.Close()) // always nil
		readers.Wait()
	}()
	return o
}

// drain waits for what a process has sent before its own end. A slow log handler does
// not get all of that.
func (o *output) drain() {
	if o == nil || closesWithin(o.read, drainTimeout) {
		return
	}
	o.stdout.Hurry()
	o.stderr.Hurry()
	closesWithin(o.read, hurryTimeout) // what goes on is the user's code
}

const (
	// minRefetch and maxRefetch are the shortest and the longest pause before the
	// output of a plugin is fetched again after its server has ended the connection.
	// A plugin on go-plugin blocks when it prints and nobody fetches.
	minRefetch = 10 * time.Millisecond
	maxRefetch = 5 * time.Second
)

// fetchAll fetches the output over one connection after another, until the plugin ends.
func fetchAll(ctx context.Context, cc grpc.ClientConnInterface, stdout, stderr io.Writer, exited <-chan struct{}) error {
	for pause := minRefetch; ; pause = min(2*pause, maxRefetch) {
		began := time.Now()
		lost, err := fetch(ctx, cc, stdout, stderr)
		if !lost || closesWithin(exited, pause) {
			return err
		}
		if time.Since(began) > maxRefetch {
			pause = minRefetch
		}
	}
}

// fetch receives until the stream ends. It reports lost if the stream ended because
// its connection did. A plugin without the service prints nothing this way.
func fetch(ctx context.Context, cc grpc.ClientConnInterface, stdout, stderr io.Writer) (lost bool, err error) {
	s, err := messages.StreamStdio(ctx, cc, grpc.MaxCallRecvMsgSize(maxStdioData))
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
		default: // none of ours
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
