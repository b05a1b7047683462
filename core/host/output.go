package host

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/goplugin"
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

// fetchOutput logs and copies what comes through GRPCStdio as if the plugin had
// printed it on its own standard output and error.
func (p *Plugin) fetchOutput() {
	read := make(chan struct{})
	p.output = read
	ctx, cancel := context.WithCancel(context.Background())
	stdout, printed := io.Pipe()
	stderr, complained := io.Pipe()
	var readers sync.WaitGroup
	collect := func(r *io.PipeReader, cfg logs.CollectorConfig) {
		err := logs.NewCollector(p.child.logger, cfg).Run(r)
		_ = r.CloseWithError(err) // always nil
	}
	readers.Go(func() { collect(stdout, logs.CollectorConfig{Stream: "stdout", Copy: p.child.copies.stdout}) })
	readers.Go(func() { collect(stderr, logs.CollectorConfig{Stream: "stderr", Copy: p.child.copies.stderr}) })
	go func() {
		defer close(read)
		defer cancel()
		if err := fetch(ctx, p.peer.Plain(), printed, complained); err != nil {
			p.child.logger.Warn("fetching the plugin's output ended", "error", err)
		}
		_ = errors.Join(printed.Close(), complained.Close()) // always nil
		readers.Wait()
	}()
}

// fetch receives until the connection ends. A plugin without the service prints
// nothing this way.
func fetch(ctx context.Context, cc grpc.ClientConnInterface, stdout, stderr io.Writer) error {
	s, err := goplugin.StreamStdio(ctx, cc, grpc.MaxCallRecvMsgSize(maxStdioData))
	for err == nil {
		var data goplugin.StdioData
		if err = s.RecvMsg(&data); err != nil {
			break
		}
		switch data.Channel {
		case goplugin.Stdout:
			_, err = stdout.Write(data.Data)
		case goplugin.Stderr:
			_, err = stderr.Write(data.Data)
		default: // none of ours
		}
	}
	switch status.Code(err) {
	case codes.Unimplemented, codes.Unavailable, codes.Canceled:
		return nil
	default:
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}
