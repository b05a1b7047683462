package goplugin

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/goplugin/stdio"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/self"
)

const (
	// stopGrace is how long a stop may take that a host on go-plugin asks for. Such a host
	// does not say how long it waits: without a limit for the answer, and then two seconds
	// for the process to end (client.go). Calls that are about to end can do so in this
	// time, and a call that never ends does not keep a person waiting.
	stopGrace = 4 * time.Second
	// ExitGrace is how long the plugin may serve calls of other hosts once such a host has
	// its answer. It is half of what leaves a busy machine a margin of those two seconds:
	// handlers that ignore their context may then take as long again.
	ExitGrace = 500 * time.Millisecond
	// flushTimeout bounds how long a stop waits for the host to take the last output.
	flushTimeout = time.Second
)

// PluginSide is what a plugin has for a host on go-plugin. The methods of a nil PluginSide
// do nothing.
type PluginSide struct {
	output  *stdio.Output
	capture *self.Capture // nil for a program that owns its main
	stopped chan struct{} // closed by Stopped
}

// NewPluginSide returns a plugin's side. Call [PluginSide.Abandon] when the plugin no
// longer serves.
func NewPluginSide() *PluginSide {
	return &PluginSide{output: stdio.NewOutput(), stopped: make(chan struct{})}
}

// Register adds the services that a host on go-plugin expects. shutdown is called when the
// host asks the plugin to stop, at least once and possibly often. It must not block. The
// host gets its answer when [PluginSide.Stopped] is called.
func (p *PluginSide) Register(r calls.Registrar, shutdown func(grace time.Duration)) {
	if p != nil {
		messages.RegisterController(r, &controller{shutdown: shutdown, stopped: p.stopped})
		messages.RegisterStdio(r, p.output)
	}
}

// controller is go-plugin's GRPCController.
type controller struct {
	shutdown func(grace time.Duration)
	stopped  <-chan struct{}
}

// Shutdown implements [messages.Controller]. The host closes the connection when it has the
// answer, so the answer waits until the plugin has stopped.
func (c *controller) Shutdown(ctx context.Context) error {
	c.shutdown(stopGrace)
	select {
	case <-c.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Capture makes everything that this process prints go to the host. It returns what
// standard output and error were before: the host reads its answer there. It changes the
// process as a whole, so only a program whose main is the framework's may call it.
func (p *PluginSide) Capture() (stdout, stderr *os.File, err error) {
	p.capture, err = self.NewCapture(
		func(b []byte) { p.output.Put(messages.Stdout, b) },
		func(b []byte) { p.output.Put(messages.Stderr, b) },
	)
	if err != nil {
		return nil, nil, err
	}
	return p.capture.Stdout, p.capture.Stderr, nil
}

// Read makes what the readers yield go to the host, until they end. Either may be nil.
func (p *PluginSide) Read(stdout, stderr io.Reader) {
	if p == nil {
		return
	}
	for channel, r := range map[messages.Channel]io.Reader{messages.Stdout: stdout, messages.Stderr: stderr} {
		if r != nil {
			go func() { _, _ = io.Copy(channelWriter{p.output, channel}, r) }() // however reading ends, nothing more is printed
		}
	}
}

// channelWriter writes to one channel of an output.
type channelWriter struct {
	output  *stdio.Output
	channel messages.Channel
}

// Write implements [io.Writer].
func (w channelWriter) Write(b []byte) (int, error) {
	w.output.Put(w.channel, b)
	return len(b), nil
}

// Stopped sends the host what the plugin printed last, and then tells the host that the
// plugin has stopped. The host then closes the connection.
func (p *PluginSide) Stopped(ctx context.Context) error {
	if p == nil {
		return nil
	}
	defer close(p.stopped)
	err := p.release()
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	p.output.Flush(ctx)
	return err
}

// release ends the capture, if there is one: later output goes where it went before.
func (p *PluginSide) release() error {
	if p.capture == nil {
		return nil
	}
	err := p.capture.Flush()
	p.capture = nil
	return err
}

// Abandon ends the capture of a plugin that no longer serves. It writes what no host has
// fetched to standard error, which the host may read too. A host that does not read must
// not keep this process from ending, so Abandon waits for flushTimeout at most.
func (p *PluginSide) Abandon() {
	if p == nil {
		return
	}
	_ = p.release() // there is no host to tell
	rest, stderr := p.output.Rest(), os.Stderr
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, data := range rest {
			if _, err := stderr.Write(data.Data); err != nil {
				return // the host has gone, or has closed its end
			}
		}
	}()
	select {
	case <-written:
	case <-time.After(flushTimeout):
	}
}
