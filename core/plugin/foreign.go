package plugin

import (
	"context"
	"os"
	"time"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/self"
)

// foreign is what a plugin has for a host that is on go-plugin.
type foreign struct {
	output  *control.Output
	capture *self.Capture // nil for a program that owns its main
	stopped chan struct{} // closed by lastWords
}

func newForeign() *foreign {
	return &foreign{output: control.NewOutput(), stopped: make(chan struct{})}
}

// register adds the services of such a host.
func (f *foreign) register(r rpc.Registrar, shutdown func(grace time.Duration)) {
	if f != nil {
		control.RegisterForeign(r, shutdown, f.stopped, f.output)
	}
}

// takeOver has what this process prints go to the host through GRPCStdio, and binds
// its life to the host's, and the life of what it starts to its own. The answer goes where the host reads it.
func (s *server) takeOver() (err error) {
	f := s.foreign
	f.capture, err = self.NewCapture(
		func(b []byte) { f.output.Put(messages.Stdout, b) },
		func(b []byte) { f.output.Put(messages.Stderr, b) },
	)
	if err != nil {
		return err
	}
	if s.config.answer == os.Stdout {
		s.config.answer = f.capture.Stdout
	}
	if s.outlives {
		notifyBrokenPipe()
		return nil
	}
	// Such a host starts its plugins in its own group, and ends the plugin's process only.
	if err := self.LeadGroup(); err != nil {
		s.runtime.logger.Warn("what this plugin starts may outlive it", "error", err)
	}
	s.lifeline = watch(self.NewReader(f.capture.Stdout, f.capture.Stderr))
	return nil
}

// flushTimeout bounds how long a stop waits for the host to take what was printed
// last.
const flushTimeout = time.Second

// lastWords sends what the plugin has printed, and then has the host know that it
// has stopped: the host closes the connection at that.
func (f *foreign) lastWords(ctx context.Context) error {
	if f == nil {
		return nil
	}
	defer close(f.stopped)
	err := f.release()
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	f.output.Flush(ctx)
	return err
}

// release ends the capture, if there is one. What comes later goes where it went
// before.
func (f *foreign) release() error {
	if f == nil || f.capture == nil {
		return nil
	}
	err := f.capture.Flush()
	f.capture = nil
	return err
}

// abandon ends the capture of a plugin that no longer serves. What no host has
// fetched goes to standard error, which it reads too, or does not: that must not
// keep this process from ending.
func (f *foreign) abandon() {
	if f == nil {
		return
	}
	_ = f.release() // there is nobody left to tell
	rest, stderr := f.output.Rest(), os.Stderr
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, data := range rest {
			if _, err := stderr.Write(data.Data); err != nil {
				return // as above
			}
		}
	}()
	select {
	case <-written:
	case <-time.After(flushTimeout):
	}
}
